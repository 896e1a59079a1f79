# A bounded job from its submission to its end.

leader start
tm add tm-1 slots=1
tm add tm-2 slots=1
----
[   0.000s] leads with epoch 1: 0 jobs to reconcile
[   0.005s] tm=tm-1 registered: 1 slots, 0 attempts
[   0.015s] tm=tm-2 registered: 1 slots, 0 attempts

# The answer comes only after the specification is recorded; then slots are
# taken (recorded too), workers are prepared, and run once all are prepared.

submit wordcount parallelism=2 interval=10s
until wordcount RUNNING
----
[   0.023s] answer: OK
[   0.026s] job=wordcount/aaaaaaaa region 0 attempt 1 placed: tm-1 x1, tm-2 x1
[   0.026s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   0.027s]   tm-1 <- prepare attempt=1
[   0.027s]   tm-2 <- prepare attempt=1
[   0.033s]   tm-1 <- run attempt=1
[   0.033s]   tm-2 <- run attempt=1
[   0.043s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run

run 12s
----
[  10.046s] job=wordcount/aaaaaaaa ckpt=1 begins: checkpoint
[  10.047s]   tm-1 <- trigger attempt=1 ckpt=1
[  10.047s]   tm-2 <- trigger attempt=1 ckpt=1
[  10.085s] job=wordcount/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[  10.086s]   tm-1 <- complete attempt=1 ckpt=1
[  10.086s]   tm-2 <- complete attempt=1 ckpt=1

# The sources end one after the other. Nobody finishes alone: the last
# checkpoint is taken when all are at their end, and FINISHED is recorded only
# after the sinks have committed it.

tm at-end tm-1
run 1s
----
(nothing)

tm at-end tm-2
until wordcount FINISHED
run 50ms
----
[  13.043s] job=wordcount/aaaaaaaa RUNNING -> FINISHING: all its sources are at their end
[  13.046s] job=wordcount/aaaaaaaa ckpt=2 begins: last checkpoint
[  13.047s]   tm-1 <- trigger attempt=1 ckpt=2
[  13.047s]   tm-2 <- trigger attempt=1 ckpt=2
[  13.085s] job=wordcount/aaaaaaaa ckpt=2 completed: 2 objects, 2000 bytes
[  13.086s]   tm-1 <- complete attempt=1 ckpt=2
[  13.086s]   tm-2 <- complete attempt=1 ckpt=2
[  13.094s] job=wordcount/aaaaaaaa FINISHING -> FINISHED: its last output is committed
[  13.095s]   tm-1 <- finish attempt=1 ckpt=2 terminal
[  13.095s]   tm-2 <- finish attempt=1 ckpt=2 terminal
[  13.106s] storage removes jobs/a.../chk-1/

show wordcount
store show
----
  status=FINISHED attempt=1 restarts=0 counted=0 newest=2 committed=2 failures=0
  run/_cluster
  done/aaaaaaaa
  cleanup/aaaaaaaa/00000002

run 12s
store show
----
[  23.115s] storage removes jobs/a.../
  run/_cluster
  done/aaaaaaaa
