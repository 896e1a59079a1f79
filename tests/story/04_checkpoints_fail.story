# Checkpoints fail in several ways; only the job's own doing counts.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=1s timeout=5s tolerable=1 concurrent=2
until wordcount RUNNING
loud
----
(nothing)

# Storage is away: the manifest is tried again until the checkpoint times out.
# The job is degraded, and says so; no task restarts.

storage down
run 7s
show wordcount
----
[   1.036s] job=wordcount/aaaaaaaa ckpt=1 begins: checkpoint
[   1.037s]   tm-1 <- trigger attempt=1 ckpt=1
[   2.039s] job=wordcount/aaaaaaaa ckpt=2 begins: checkpoint
[   2.040s]   tm-1 <- trigger attempt=1 ckpt=2
[   6.039s] job=wordcount/aaaaaaaa ckpt=1 given up: timed out with 1 of 1 acknowledgements; manifest: storage cannot be reached
[   6.039s] job=wordcount/aaaaaaaa ckpt=3 begins: checkpoint
[   6.040s]   tm-1 <- abort attempt=1 ckpt=1
[   6.040s]   tm-1 <- trigger attempt=1 ckpt=3
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0 trouble: manifest of checkpoint 3: storage cannot be reached

storage up
run 1s
show wordcount
----
[   7.042s] job=wordcount/aaaaaaaa ckpt=2 given up: timed out with 1 of 1 acknowledgements; manifest: storage cannot be reached
[   7.042s] job=wordcount/aaaaaaaa ckpt=4 begins: checkpoint
[   7.043s]   tm-1 <- abort attempt=1 ckpt=2
[   7.043s]   tm-1 <- trigger attempt=1 ckpt=4
[   7.081s] job=wordcount/aaaaaaaa ckpt=3 given up: a newer checkpoint completed first
[   7.081s] job=wordcount/aaaaaaaa ckpt=4 completed: 1 objects, 1000 bytes
[   7.082s]   tm-1 <- abort attempt=1 ckpt=3
[   7.082s]   tm-1 <- complete attempt=1 ckpt=4
  status=RUNNING attempt=1 restarts=0 counted=0 newest=4 committed=0 failures=0

# Declined by the job's own doing: one is tolerated, the second in a row is
# not. Declined because storage refused is never counted.

quiet
run 2900ms
tm hold tm-1 ack
run 1s
loud
tm decline tm-1 ckpt=8 text=storage_refused external=yes
run 1s
tm decline tm-1 ckpt=9 text=state_too_large
run 10ms
show wordcount
run 1s
tm decline tm-1 ckpt=10 text=state_too_large
run 50ms
show wordcount
----
[  11.933s] job=wordcount/aaaaaaaa ckpt=8 declined by tm-1: storage refused
[  11.936s] job=wordcount/aaaaaaaa ckpt=8 given up: storage refused
[  11.937s]   tm-1 <- abort attempt=1 ckpt=8
[  12.057s] job=wordcount/aaaaaaaa ckpt=9 begins: checkpoint
[  12.058s]   tm-1 <- trigger attempt=1 ckpt=9
[  12.933s] job=wordcount/aaaaaaaa ckpt=9 declined by tm-1: state too large
[  12.936s] job=wordcount/aaaaaaaa ckpt=9 given up: state too large
[  12.937s]   tm-1 <- abort attempt=1 ckpt=9
  status=RUNNING attempt=1 restarts=0 counted=0 newest=7 committed=7 failures=0 trouble: checkpoint 8: storage refused
[  13.060s] job=wordcount/aaaaaaaa ckpt=10 begins: checkpoint
[  13.061s]   tm-1 <- trigger attempt=1 ckpt=10
[  13.943s] job=wordcount/aaaaaaaa ckpt=10 declined by tm-1: state too large
[  13.946s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 7, delay 100 ms: 2 checkpoints in a row failed by the job's own doing, 1 are tolerated
[  13.946s] job=wordcount/aaaaaaaa ckpt=10 given up: state too large
[  13.946s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: 2 checkpoints in a row failed by the job's own doing, 1 are tolerated
[  13.947s]   tm-1 <- cancel attempt=1 ckpt=7
  status=RESTARTING attempt=2 restarts=1 counted=1 newest=7 committed=7 failures=1 trouble: checkpoint 8: storage refused

# A store without space refuses decisions, and the job says so for as long as
# that is so.

quiet
store full
run 3s
loud
show wordcount
quiet
store free
run 3s
loud
show wordcount
----
  status=RESTARTING attempt=2 restarts=1 counted=1 newest=7 committed=7 failures=1 trouble: the store refuses decisions: NOSPACE
  status=RUNNING attempt=2 restarts=1 counted=1 newest=7 committed=7 failures=1 trouble: checkpoint 8: storage refused
