# Two parts of a job that are not connected: they share slots, take one
# checkpoint together, and restart alone.

quiet
leader start
tm add tm-1 slots=1
submit pairs parallelism=1 regions=2 interval=1s
loud
until pairs RUNNING
run 1100ms
----
[   0.013s] answer: OK
[   0.016s] job=pairs/aaaaaaaa region 0 attempt 1 placed: tm-1 x1
[   0.016s] job=pairs/aaaaaaaa region 1 attempt 1 placed: tm-1 x1
[   0.016s] job=pairs/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   0.017s]   tm-1 <- prepare attempt=1
[   0.017s]   tm-1 <- prepare attempt=1 region=1
[   0.023s]   tm-1 <- run attempt=1
[   0.023s]   tm-1 <- run attempt=1 region=1
[   0.033s] job=pairs/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   1.036s] job=pairs/aaaaaaaa ckpt=1 begins: checkpoint
[   1.037s]   tm-1 <- trigger attempt=1 ckpt=1
[   1.037s]   tm-1 <- trigger attempt=1 ckpt=1 region=1
[   1.075s] job=pairs/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[   1.076s]   tm-1 <- complete attempt=1 ckpt=1
[   1.076s]   tm-1 <- complete attempt=1 ckpt=1 region=1

# Region 1 loses nothing when region 0 begins again; the checkpoint in flight,
# triggered under the old attempts, cannot complete.

quiet
tm hold tm-1 ack
run 950ms
loud
tm fail tm-1 region=0
tm release tm-1 ack
run 1500ms
----
[   2.083s] job=pairs/aaaaaaaa RUNNING -> RESTARTING: division by zero
[   2.086s] job=pairs/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 1, delay 100 ms: division by zero
[   2.086s] job=pairs/aaaaaaaa ckpt=2 given up: a region was restarted
[   2.087s]   tm-1 <- cancel attempt=1 ckpt=1
[   2.087s]   tm-1 <- abort attempt=1 ckpt=2 region=1
[   2.183s] job=pairs/aaaaaaaa RESTARTING -> WAITING: needs slots
[   2.186s] job=pairs/aaaaaaaa region 0 attempt 2 placed: tm-1 x1
[   2.186s] job=pairs/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   2.187s]   tm-1 <- prepare attempt=2
[   2.193s]   tm-1 <- run attempt=2 ckpt=1
[   2.203s] job=pairs/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   2.204s]   tm-1 <- complete attempt=2 ckpt=1
[   3.206s] job=pairs/aaaaaaaa ckpt=3 begins: checkpoint
[   3.207s]   tm-1 <- trigger attempt=2 ckpt=3
[   3.207s]   tm-1 <- trigger attempt=1 ckpt=3 region=1
[   3.245s] job=pairs/aaaaaaaa ckpt=3 completed: 2 objects, 2000 bytes
[   3.246s]   tm-1 <- complete attempt=2 ckpt=3
[   3.246s]   tm-1 <- complete attempt=1 ckpt=3 region=1
[   3.266s] storage removes jobs/a.../chk-1/
