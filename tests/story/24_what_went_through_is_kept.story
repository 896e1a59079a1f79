# The leader dies when the last checkpoint is complete and its output is not committed yet. The next
# one hears what went through the job with the registrations, and ends it before any beat.

quiet
leader start
tm add tm-1 slots=1
tm add tm-2 slots=1
submit wordcount parallelism=2 interval=10s
until wordcount RUNNING
tm hold tm-1 committed
tm hold tm-2 committed
loud
tm at-end tm-1
tm at-end tm-2
run 100ms
leader kill
tm release tm-1 committed
tm release tm-2 committed
run 100ms
leader start
until wordcount FINISHED
show wordcount
----
[   0.043s] job=wordcount/aaaaaaaa RUNNING -> FINISHING: all its sources are at their end
[   0.049s] job=wordcount/aaaaaaaa ckpt=1 begins: last checkpoint
[   0.050s]   tm-1 <- trigger attempt=1 ckpt=1
[   0.050s]   tm-2 <- trigger attempt=1 ckpt=1
[   0.088s] job=wordcount/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[   0.089s]   tm-1 <- complete attempt=1 ckpt=1
[   0.089s]   tm-2 <- complete attempt=1 ckpt=1
[   0.143s] the leader dies
[   0.243s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[   0.243s] leads with epoch 8: 1 jobs to reconcile
[   0.246s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   0.253s] tm=tm-1 registered: 1 slots, 1 attempts
[   0.254s] tm=tm-2 registered: 1 slots, 1 attempts
[   0.254s] job=wordcount/aaaaaaaa RECONCILING -> FINISHING: all its sources are at their end
[   0.257s] job=wordcount/aaaaaaaa FINISHING -> FINISHED: its last output is committed
  status=FINISHED attempt=1 restarts=0 counted=0 newest=1 committed=1 failures=0
  read=200

# Those who ran are cut off, and an attempt that only commits is recorded. What they had counted is
# theirs to tell when they come back, to a leader that has never heard of it.

quiet
submit second parallelism=2 interval=1s
until second RUNNING
tm hold tm-1 committed
tm hold tm-2 committed
run 1500ms
tm add tm-3 slots=2
tm hold tm-3 prepared
cancel second
tm away tm-1
tm away tm-2
tm drop tm-1
tm drop tm-2
run 1500ms
leader kill
tm back tm-1
tm back tm-2
loud
leader start
run 100ms
tm release tm-3 prepared
until second CANCELED
show second
----
[   3.290s] leads with epoch 19: 1 jobs to reconcile
[   3.290s] job=second/bbbbbbbb RECONCILING -> CANCELLING: as asked
[   3.295s] tm=tm-1 registered: 1 slots, 1 attempts
[   3.295s] tm=tm-2 registered: 1 slots, 1 attempts
[   3.296s]   tm-1 <- complete attempt=1 ckpt=1
[   3.296s]   tm-1 <- cancel attempt=1 ckpt=1
[   3.296s]   tm-2 <- complete attempt=1 ckpt=1
[   3.296s]   tm-2 <- cancel attempt=1 ckpt=1
[   3.302s] tm=tm-3 registered: 2 slots, 1 attempts
[   3.303s]   tm-3 <- prepare attempt=2
[   3.362s] storage removes jobs/a.../
[   3.400s]   tm-3 <- run attempt=2 ckpt=1 only to commit
[   3.411s]   tm-3 <- complete attempt=2 ckpt=1
[   3.419s] job=second/bbbbbbbb CANCELLING -> CANCELED: what was completed is committed
  status=CANCELED attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1
  read=200
