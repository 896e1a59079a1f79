# Two parts of a job that are not connected: they share slots, take one
# checkpoint together, and restart alone.

quiet
leader start
tm add tm-1 slots=1
tm add tm-2 slots=1
submit pairs parallelism=1 regions=2 interval=1s
loud
until pairs RUNNING
run 1100ms
----
[   0.023s] answer: OK
[   0.026s] job=pairs/aaaaaaaa region 0 attempt 1 placed: tm-1 x1
[   0.026s] job=pairs/aaaaaaaa region 1 attempt 1 placed: tm-1 x1
[   0.026s] job=pairs/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   0.027s]   tm-1 <- prepare attempt=1
[   0.027s]   tm-1 <- prepare attempt=1
[   0.033s]   tm-1 <- run attempt=1
[   0.033s]   tm-1 <- run attempt=1
[   0.043s] job=pairs/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   1.046s] job=pairs/aaaaaaaa ckpt=1 begins: checkpoint
[   1.047s]   tm-1 <- trigger attempt=1 ckpt=1
[   1.047s]   tm-1 <- trigger attempt=1 ckpt=1
[   1.085s] job=pairs/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[   1.086s]   tm-1 <- complete attempt=1 ckpt=1
[   1.086s]   tm-1 <- complete attempt=1 ckpt=1

# Region 1 loses nothing when region 0 begins again; the checkpoint in flight,
# triggered under the old attempts, cannot complete.

quiet
tm hold tm-1 ack
run 950ms
loud
tm kill tm-2
tm release tm-1 ack
run 1500ms
----
[   2.093s] tm=tm-2 command stream ended: 1000 ms to come back
[   2.138s] job=pairs/aaaaaaaa ckpt=2 completed: 2 objects, 2000 bytes
[   2.139s]   tm-1 <- complete attempt=1 ckpt=2
[   2.139s]   tm-1 <- complete attempt=1 ckpt=2
[   2.159s] storage removes jobs/a.../chk-1/
[   3.052s] job=pairs/aaaaaaaa ckpt=3 begins: checkpoint
[   3.053s]   tm-1 <- trigger attempt=1 ckpt=3
[   3.053s]   tm-1 <- trigger attempt=1 ckpt=3
[   3.091s] job=pairs/aaaaaaaa ckpt=3 completed: 2 objects, 2000 bytes
[   3.092s]   tm-1 <- complete attempt=1 ckpt=3
[   3.092s]   tm-1 <- complete attempt=1 ckpt=3
[   3.093s] tm=tm-2 lost: it went away and did not come back
[   3.112s] storage removes jobs/a.../chk-2/
