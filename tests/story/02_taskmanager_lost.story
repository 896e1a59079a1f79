# A TaskManager is killed: its stream ends, it does not come back, and the
# region goes on elsewhere from the newest completed checkpoint.

quiet
leader start
tm add tm-1 slots=2
tm add tm-2 slots=2
submit wordcount parallelism=4 interval=1s
until wordcount RUNNING
run 2500ms
loud
show wordcount
----
  status=RUNNING attempt=1 restarts=0 counted=0 newest=2 committed=1 failures=0

# Attempt 2 and its restore point are recorded before anything of attempt 1 is
# cancelled. It is no failure of the job's own: nothing is counted.

tm kill tm-2
run 2s
----
[   2.543s] tm=tm-2 command stream ended: 1000 ms to come back
[   3.052s] job=wordcount/aaaaaaaa ckpt=3 begins: checkpoint
[   3.053s]   tm-1 <- trigger attempt=1 ckpt=3
[   3.543s] tm=tm-2 lost: it went away and did not come back
[   3.543s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: TaskManager tm-2 went away and did not come back
[   3.546s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 2, delay 50 ms: TaskManager tm-2 went away and did not come back
[   3.546s] job=wordcount/aaaaaaaa ckpt=3 given up: a region was restarted
[   3.547s]   tm-1 <- cancel attempt=1 ckpt=2
[   3.593s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots

# Two slots are missing, and the job says so, until another TaskManager joins.

show wordcount
tm add tm-3 slots=2
until wordcount RUNNING
show wordcount
----
  status=RESTARTING attempt=2 restarts=1 counted=0 newest=2 committed=2 failures=1 trouble: waits for slots: 4 needed, 2 free on 1 TaskManagers
[   4.548s] tm=tm-3 registered: 2 slots, 0 attempts
[   4.551s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-1 x2, tm-3 x2
[   4.551s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   4.552s]   tm-1 <- prepare attempt=2
[   4.552s]   tm-3 <- prepare attempt=2
[   4.558s]   tm-1 <- run attempt=2 ckpt=2
[   4.558s]   tm-3 <- run attempt=2 ckpt=2
[   4.568s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
  status=RESTARTING attempt=2 restarts=1 counted=0 newest=2 committed=2 failures=1

# A silent one (its machine hangs) is found by the heartbeat timeout.

tm silent tm-3
quiet
run 4s
loud
run 1500ms
show wordcount
----
[   9.568s] tm=tm-3 lost: it was silent for the heartbeat timeout
[   9.568s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: TaskManager tm-3 was silent for the heartbeat timeout
[   9.571s] job=wordcount/aaaaaaaa region 0 attempt 3 recorded, restores checkpoint 2, delay 50 ms: TaskManager tm-3 was silent for the heartbeat timeout
[   9.571s] job=wordcount/aaaaaaaa ckpt=4 given up: a region was restarted
[   9.572s]   tm-1 <- cancel attempt=2 ckpt=2
[   9.618s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[   9.668s] tm=tm-3 registered: 2 slots, 1 attempts
[   9.669s]   tm-3 <- cancel attempt=2 ckpt=2
[   9.671s] job=wordcount/aaaaaaaa region 0 attempt 3 placed: tm-1 x2, tm-3 x2
[   9.671s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   9.672s]   tm-1 <- prepare attempt=3
[   9.672s]   tm-3 <- prepare attempt=3
[   9.678s]   tm-1 <- run attempt=3 ckpt=2
[   9.678s]   tm-3 <- run attempt=3 ckpt=2
[   9.688s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   9.689s]   tm-1 <- complete attempt=3 ckpt=2
[   9.689s]   tm-3 <- complete attempt=3 ckpt=2
  status=RUNNING attempt=3 restarts=2 counted=0 newest=2 committed=2 failures=2
