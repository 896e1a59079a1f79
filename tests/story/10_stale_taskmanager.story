# A TaskManager that was cut off still runs attempt 1 when it comes back, long
# after attempt 2 took over: what it has is over, and it is told so.

quiet
leader start
tm add tm-1 slots=2
tm add tm-2 slots=2
submit wordcount parallelism=2 interval=1s
until wordcount RUNNING
run 1500ms
loud
tm away tm-2
tm silent tm-2
run 5s
----
[   2.049s] job=wordcount/aaaaaaaa ckpt=2 begins: checkpoint
[   2.050s]   tm-1 <- trigger attempt=1 ckpt=2
[   2.050s]   tm-2 <- trigger attempt=1 ckpt=2
[   6.091s] tm=tm-2 lost: it was silent for the heartbeat timeout
[   6.091s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: TaskManager tm-2 was silent for the heartbeat timeout
[   6.094s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 1, delay 50 ms: TaskManager tm-2 was silent for the heartbeat timeout
[   6.094s] job=wordcount/aaaaaaaa ckpt=2 given up: a region was restarted
[   6.095s]   tm-1 <- cancel attempt=1 ckpt=1
[   6.141s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[   6.144s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-1 x2
[   6.144s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   6.145s]   tm-1 <- prepare attempt=2
[   6.151s]   tm-1 <- run attempt=2 ckpt=1
[   6.161s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   6.162s]   tm-1 <- complete attempt=2 ckpt=1

tm back tm-2
run 200ms
show wordcount
----
[   6.548s] tm=tm-2 registered: 2 slots, 1 attempts
[   6.549s]   tm-2 <- cancel attempt=1 ckpt=1
  status=RUNNING attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1

# One that ended while its TaskManager was away is ended there too.

quiet
run 1s
tm away tm-1
leader kill
leader start
run 7s
cancel wordcount
run 1s
leader kill
leader start
run 100ms
loud
tm back tm-1
run 500ms
----
[  15.848s] tm=tm-1 registered: 2 slots, 1 attempts
[  15.849s]   tm-1 <- cancel attempt=2 ckpt=4 terminal

# A job that the store does not know is left alone, and told "unknown" with
# every beat.

quiet
submit lost parallelism=2
until lost RUNNING
store wipe
leader kill
leader start
loud
run 2500ms
----
[  16.376s] tm=tm-1 registered: 2 slots, 1 attempts
[  16.377s] tm=tm-2 registered: 2 slots, 1 attempts
[  17.351s]   tm-2 <- unknown attempt=1
[  17.351s]   tm-1 <- unknown attempt=1
[  18.351s]   tm-2 <- unknown attempt=1
[  18.351s]   tm-1 <- unknown attempt=1
