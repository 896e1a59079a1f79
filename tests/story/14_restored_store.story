# The store is restored from a backup. Whoever knows better stops everything; nothing is changed
# until somebody accepts the store as it is.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=5s retained=9
until wordcount RUNNING
run 6s
store backup
run 12s
loud
show wordcount
----
  status=RUNNING attempt=1 restarts=0 counted=0 newest=3 committed=2 failures=0

# The leader lives: its own chain tells it. Nobody is told anything any more, nothing is decided.

store restore
run 6s
submit other parallelism=1
cancel wordcount
----
[  20.045s] job=wordcount/aaaaaaaa its document is not the one that this leader wrote: the store went back in time; nothing is changed
[  24.033s] answer: UNAVAILABLE: job aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: its document is not the one that this leader wrote: the store went back in time
[  24.033s] answer: UNAVAILABLE: job aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: its document is not the one that this leader wrote: the store went back in time

# A new leader knows only what is in the store; a TaskManager remembers more.

leader kill
leader start
run 20s
show wordcount
cancel wordcount
----
[  24.033s] the leader dies
[  24.033s] leads with epoch 9: 1 jobs to reconcile
[  24.043s] tm=tm-1 registered: 2 slots, 1 attempts
[  24.043s] job=wordcount/aaaaaaaa a TaskManager knows a newer completed checkpoint: the store went back in time; nothing is changed
[  24.043s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
  status=RUNNING attempt=1 restarts=0 counted=0 newest=1 committed=0 failures=0 trouble: a TaskManager knows a newer completed checkpoint: the store went back in time; nothing is changed
[  44.033s] answer: UNAVAILABLE: job aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: a TaskManager knows a newer completed checkpoint: the store went back in time

# Accepted: the next leader goes on from what the store says, above all that anybody remembers.

leader accept
run 10ms
leader resign
leader start
run 8s
show wordcount
----
[  44.036s] answer: OK
[  44.036s] the store is accepted as it is: epochs go on above 9
[  44.043s] the leader hands over
[  44.043s] leads with epoch 12: 1 jobs to reconcile
[  44.053s] tm=tm-1 registered: 2 slots, 1 attempts
[  44.053s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[  44.056s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 1, delay 50 ms: a restored store was accepted: attempt 1 and checkpoint 3 are given up
[  44.056s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: a restored store was accepted: attempt 1 and checkpoint 3 are given up
[  44.057s]   tm-1 <- cancel attempt=1 ckpt=1
[  44.057s]   tm-1 <- cancel attempt=1 ckpt=1
[  44.103s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[  44.106s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-1 x2
[  44.106s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[  44.107s]   tm-1 <- prepare attempt=2
[  44.113s]   tm-1 <- run attempt=2 ckpt=1
[  44.123s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[  44.124s]   tm-1 <- complete attempt=2 ckpt=1
[  49.126s] job=wordcount/aaaaaaaa ckpt=4 begins: checkpoint
[  49.127s]   tm-1 <- trigger attempt=2 ckpt=4
[  49.165s] job=wordcount/aaaaaaaa ckpt=4 completed: 1 objects, 1000 bytes
[  49.166s]   tm-1 <- complete attempt=2 ckpt=4
  status=RUNNING attempt=2 restarts=1 counted=0 newest=4 committed=1 failures=1

# The next leader is an ordinary one.

leader kill
leader start
run 3s
show wordcount
----
[  52.043s] the leader dies
[  52.043s] leads with epoch 20: 1 jobs to reconcile
[  52.053s] tm=tm-1 registered: 2 slots, 1 attempts
[  52.053s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
  status=RUNNING attempt=2 restarts=1 counted=0 newest=4 committed=1 failures=1

# There is nothing to accept now.

leader accept
----
[  55.043s] answer: CONFLICT: nothing contradicts the store: there is nothing to accept
