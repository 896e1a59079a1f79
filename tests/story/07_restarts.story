# Restart strategies: the job's own failures count, and the count survives a
# change of leader.

quiet
leader start
tm add tm-1 slots=4
submit careful parallelism=2 restart=fixed-delay attempts=2
until careful RUNNING
loud
tm fail tm-1 text=division_by_zero
run 1500ms
show careful
----
[   0.033s] job=careful/aaaaaaaa RUNNING -> RESTARTING: division by zero
[   0.039s] job=careful/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 0, delay 1000 ms: division by zero
[   0.040s]   tm-1 <- cancel attempt=1
[   1.036s] job=careful/aaaaaaaa RESTARTING -> WAITING: needs slots
[   1.039s] job=careful/aaaaaaaa region 0 attempt 2 placed: tm-1 x2
[   1.039s] job=careful/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   1.040s]   tm-1 <- prepare attempt=2
[   1.046s]   tm-1 <- run attempt=2
[   1.056s] job=careful/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
  status=RUNNING attempt=2 restarts=1 counted=1 newest=0 committed=0 failures=1

# A worker that is killed from outside is not the job's doing.

tm fail tm-1 text=worker_killed_by_signal_9 external=yes
run 500ms
show careful
----
[   1.533s] job=careful/aaaaaaaa RUNNING -> RESTARTING: worker killed by signal 9
[   1.536s] job=careful/aaaaaaaa region 0 attempt 3 recorded, restores checkpoint 0, delay 50 ms: worker killed by signal 9
[   1.537s]   tm-1 <- cancel attempt=2
[   1.583s] job=careful/aaaaaaaa RESTARTING -> WAITING: needs slots
[   1.586s] job=careful/aaaaaaaa region 0 attempt 3 placed: tm-1 x2
[   1.586s] job=careful/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   1.587s]   tm-1 <- prepare attempt=3
[   1.593s]   tm-1 <- run attempt=3
[   1.603s] job=careful/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
  status=RUNNING attempt=3 restarts=2 counted=1 newest=0 committed=0 failures=2

quiet
leader kill
leader start
run 1s
loud
tm fail tm-1
run 1500ms
show careful
tm fail tm-1
run 500ms
show careful
----
[   3.033s] job=careful/aaaaaaaa RUNNING -> RESTARTING: division by zero
[   3.036s] job=careful/aaaaaaaa region 0 attempt 4 recorded, restores checkpoint 0, delay 1000 ms: division by zero
[   3.037s]   tm-1 <- cancel attempt=3
[   4.033s] job=careful/aaaaaaaa RESTARTING -> WAITING: needs slots
[   4.036s] job=careful/aaaaaaaa region 0 attempt 4 placed: tm-1 x2
[   4.036s] job=careful/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   4.037s]   tm-1 <- prepare attempt=4
[   4.043s]   tm-1 <- run attempt=4
[   4.053s] job=careful/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
  status=RUNNING attempt=4 restarts=3 counted=2 newest=0 committed=0 failures=3
[   4.533s] job=careful/aaaaaaaa RUNNING -> RESTARTING: division by zero
[   4.536s] job=careful/aaaaaaaa RESTARTING -> FAILING: division by zero (fixed-delay: all 2 restarts are used up)
[   4.539s] job=careful/aaaaaaaa FAILING -> FAILED: division by zero (fixed-delay: all 2 restarts are used up)
[   4.540s]   tm-1 <- cancel attempt=4 terminal
  status=FAILED attempt=4 restarts=3 counted=3 newest=0 committed=0 failures=4

# The delay grows, and is kept by the successor.

quiet
submit brave parallelism=1
until brave RUNNING
tm fail tm-1
until brave RUNNING
tm fail tm-1
until brave RUNNING
loud
tm fail tm-1
run 10ms
leader kill
leader start
until brave RUNNING
----
[   5.352s] job=brave/bbbbbbbb RUNNING -> RESTARTING: division by zero
[   5.358s] job=brave/bbbbbbbb region 0 attempt 4 recorded, restores checkpoint 0, delay 225 ms: division by zero
[   5.359s]   tm-1 <- cancel attempt=3
[   5.362s] the leader dies
[   5.362s] leads with epoch 31: 1 jobs to reconcile
[   5.363s] job=brave/bbbbbbbb RECONCILING -> RESTARTING: division by zero
[   5.372s] tm=tm-1 registered: 4 slots, 0 attempts
[   5.580s] job=brave/bbbbbbbb RESTARTING -> WAITING: needs slots
[   5.583s] job=brave/bbbbbbbb region 0 attempt 4 placed: tm-1 x1
[   5.583s] job=brave/bbbbbbbb WAITING -> DEPLOYING: slots are taken
[   5.584s]   tm-1 <- prepare attempt=4
[   5.590s]   tm-1 <- run attempt=4
[   5.600s] job=brave/bbbbbbbb DEPLOYING -> RUNNING: all its tasks run

# At most one failure in 10 s; and none at all.

quiet
cancel brave
submit rated parallelism=1 restart=failure-rate attempts=1
until rated RUNNING
tm fail tm-1
until rated RUNNING
loud
tm fail tm-1
run 100ms
submit once parallelism=1 restart=none
until once RUNNING
tm fail tm-1
run 100ms
----
[   6.646s] job=rated/cccccccc RUNNING -> RESTARTING: division by zero
[   6.652s] job=rated/cccccccc RESTARTING -> FAILING: division by zero (failure-rate: 2 failures within 10000 ms, 1 allowed)
[   6.655s] job=rated/cccccccc FAILING -> FAILED: division by zero (failure-rate: 2 failures within 10000 ms, 1 allowed)
[   6.656s]   tm-1 <- cancel attempt=2 terminal
[   6.749s] answer: OK
[   6.752s] job=once/dddddddd region 0 attempt 1 placed: tm-1 x1
[   6.752s] job=once/dddddddd WAITING -> DEPLOYING: slots are taken
[   6.753s]   tm-1 <- prepare attempt=1
[   6.759s]   tm-1 <- run attempt=1
[   6.769s] job=once/dddddddd DEPLOYING -> RUNNING: all its tasks run
[   6.769s] job=once/dddddddd RUNNING -> RESTARTING: division by zero
[   6.775s] job=once/dddddddd RESTARTING -> FAILING: division by zero (restart strategy none)
[   6.778s] job=once/dddddddd FAILING -> FAILED: division by zero (restart strategy none)
[   6.779s]   tm-1 <- cancel attempt=1 terminal
