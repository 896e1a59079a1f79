# Not enough slots: the job waits, says so, and gives up after its timeout.

leader start
tm add tm-1 slots=2
tm add tm-9 slots=8 cookie=elsewhere
submit wordcount parallelism=4 slot-timeout=30s
run 10s
show wordcount
----
[   0.000s] leads with epoch 1: 0 jobs to reconcile
[   0.005s] tm=tm-1 registered: 2 slots, 0 attempts
[   0.015s] tm=tm-9 registered: 8 slots, 0 attempts; not used: its checkpoint storage carries the mark of another cluster: it is not the same disk or bucket
[   0.023s] answer: OK
  status=CREATED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0 trouble: waits for slots: 4 needed, 2 free on 2 TaskManagers

until wordcount FAILED 25s
show wordcount
store show
----
[  30.026s] job=wordcount/aaaaaaaa WAITING -> FAILING: no slots within 30000 ms: waits for slots: 4 needed, 2 free on 2 TaskManagers
[  30.029s] job=wordcount/aaaaaaaa FAILING -> FAILED: no slots within 30000 ms: waits for slots: 4 needed, 2 free on 2 TaskManagers
  status=FAILED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=1
  run/_cluster
  done/aaaaaaaa

# The slots of one job are another's when it ends.

submit first parallelism=2
run 1s
submit second parallelism=2
run 1s
show second
cancel first
run 1s
----
[  30.032s] answer: OK
[  30.035s] job=first/bbbbbbbb region 0 attempt 1 placed: tm-1 x2
[  30.035s] job=first/bbbbbbbb WAITING -> DEPLOYING: slots are taken
[  30.036s]   tm-1 <- prepare attempt=1
[  30.042s]   tm-1 <- run attempt=1
[  30.052s] job=first/bbbbbbbb DEPLOYING -> RUNNING: all its tasks run
[  31.032s] answer: OK
  status=CREATED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0 trouble: waits for slots: 2 needed, 0 free on 2 TaskManagers
[  32.032s] answer: OK
[  32.032s] job=first/bbbbbbbb RUNNING -> CANCELLING: as asked
[  32.035s] job=first/bbbbbbbb CANCELLING -> CANCELED: what was completed is committed
[  32.036s]   tm-1 <- cancel attempt=1 terminal
[  32.038s] job=second/cccccccc region 0 attempt 1 placed: tm-1 x2
[  32.038s] job=second/cccccccc WAITING -> DEPLOYING: slots are taken
[  32.039s]   tm-1 <- prepare attempt=1
[  32.045s]   tm-1 <- run attempt=1
[  32.055s] job=second/cccccccc DEPLOYING -> RUNNING: all its tasks run
