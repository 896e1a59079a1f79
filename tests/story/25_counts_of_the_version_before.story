# While a cluster is upgraded, TaskManagers of the version before have no counts in their items: a new
# leader finds them with what they acknowledged, and the leader before has not heard.

quiet
leader start
tm add tm-1 slots=1 version=before
tm add tm-2 slots=1 version=before
submit wordcount parallelism=2 interval=10s
until wordcount RUNNING
run 5s
loud
tm at-end tm-1
tm at-end tm-2
run 10ms
leader kill
run 100ms
leader start
until wordcount FINISHED
show wordcount
----
[   5.043s] job=wordcount/aaaaaaaa RUNNING -> FINISHING: all its sources are at their end
[   5.046s] job=wordcount/aaaaaaaa ckpt=1 begins: last checkpoint
[   5.047s]   tm-1 <- trigger attempt=1 ckpt=1
[   5.047s]   tm-2 <- trigger attempt=1 ckpt=1
[   5.053s] the leader dies
[   5.153s] leads with epoch 8: 1 jobs to reconcile
[   5.163s] tm=tm-1 registered: 1 slots, 1 attempts
[   5.164s] tm=tm-2 registered: 1 slots, 1 attempts
[   5.164s] job=wordcount/aaaaaaaa RECONCILING -> FINISHING: all its sources are at their end
[   5.187s] job=wordcount/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[   5.188s]   tm-1 <- complete attempt=1 ckpt=1
[   5.188s]   tm-2 <- complete attempt=1 ckpt=1
[   5.196s] job=wordcount/aaaaaaaa FINISHING -> FINISHED: its last output is committed
  status=FINISHED attempt=1 restarts=0 counted=0 newest=1 committed=1 failures=0
  read=200
