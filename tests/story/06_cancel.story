# Cancel: the intent is recorded before the answer; the end only after the
# sinks have committed what was completed.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=1s
until wordcount RUNNING
tm hold tm-1 committed
run 1020ms
loud
cancel wordcount
run 500ms
show wordcount
----
[   1.056s] job=wordcount/aaaaaaaa ckpt=1 given up: the job ends
[   1.056s] answer: OK
[   1.056s] job=wordcount/aaaaaaaa RUNNING -> CANCELLING: as asked
[   1.057s]   tm-1 <- abort attempt=1 ckpt=1
[   1.059s] job=wordcount/aaaaaaaa CANCELLING -> CANCELED: what was completed is committed
[   1.060s]   tm-1 <- cancel attempt=1 terminal
  status=CANCELED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0

# The commit is confirmed: CANCELED is recorded, then the workers are told.

tm release tm-1 committed
run 200ms
store show
----
  cleanup/aaaaaaaa/00000001
  cleanup/aaaaaaaa/00000002
  run/_cluster
  done/aaaaaaaa

# Again is fine; a job that ended otherwise is not cancelled.

cancel wordcount
cancel nobody
----
[   1.753s] answer: OK
[   1.753s] answer: NOTFOUND: Job bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb not found

# A sink that never confirms is handed over: resolve/ names its checkpoint, and
# the checkpoint's files stay.

quiet
submit other parallelism=2 interval=1s
until other RUNNING
tm hold tm-1 committed
run 1500ms
loud
cancel other
run 12s
store show
----
[   3.279s] answer: OK
[   3.279s] job=other/cccccccc RUNNING -> CANCELLING: as asked
[  11.077s] storage removes jobs/a.../chk-1/
[  11.080s] storage removes jobs/a.../
[  13.282s] job=other/cccccccc CANCELLING -> CANCELED: not all that was completed is committed
[  13.283s]   tm-1 <- complete attempt=1 ckpt=1
[  13.283s]   tm-1 <- cancel attempt=1 ckpt=1 terminal
  done/aaaaaaaa
  run/_cluster
  resolve/cccccccc
  done/cccccccc

# Cancelled by one leader, ended by the next.

quiet
tm release tm-1 committed
submit third parallelism=2 interval=1s
until third RUNNING
tm hold tm-1 committed
run 1500ms
loud
cancel third
run 100ms
leader kill
tm release tm-1 committed
leader start
run 500ms
----
[  16.802s] answer: OK
[  16.802s] job=third/dddddddd RUNNING -> CANCELLING: as asked
[  16.899s] the leader dies
[  16.899s] leads with epoch 25: 1 jobs to reconcile
[  16.899s] job=third/dddddddd RECONCILING -> CANCELLING: as asked
[  16.909s] tm=tm-1 registered: 2 slots, 1 attempts
[  16.950s] job=third/dddddddd CANCELLING -> CANCELED: what was completed is committed
[  16.951s]   tm-1 <- cancel attempt=1 ckpt=1 terminal

# A TaskManager that was cut off between completion and commit comes back after
# the end: it is told of the completion first, and only then that all is over.

quiet
submit fourth parallelism=2 interval=1s
until fourth RUNNING
tm hold tm-1 committed
run 1500ms
tm away tm-1
leader kill
leader start
cancel fourth
run 17s
tm release tm-1 committed
loud
store show
tm back tm-1
run 200ms
----
  done/aaaaaaaa
  run/_cluster
  resolve/cccccccc
  done/cccccccc
  done/dddddddd
  resolve/eeeeeeee
  done/eeeeeeee
[  35.927s] tm=tm-1 registered: 2 slots, 1 attempts
[  35.928s]   tm-1 <- complete attempt=1 ckpt=1
[  35.928s]   tm-1 <- cancel attempt=1 ckpt=1 terminal
[  35.937s] job=fourth/eeeeeeee CANCELED: what it had left in doubt is committed

# Its sink has confirmed: nothing is in doubt any more, and the files may go.

run 11s
store show
show fourth
----
[  45.958s] storage removes jobs/e.../
  done/aaaaaaaa
  run/_cluster
  resolve/cccccccc
  done/cccccccc
  done/dddddddd
  done/eeeeeeee
  status=CANCELED attempt=1 restarts=0 counted=0 newest=1 committed=1 failures=0

# The same under a leader that knows the job from its tombstone only.

quiet
submit fifth parallelism=2 interval=1s
until fifth RUNNING
tm hold tm-1 committed
run 1500ms
tm away tm-1
leader kill
leader start
cancel fifth
run 17s
leader kill
leader start
run 100ms
tm release tm-1 committed
tm back tm-1
loud
run 200ms
store show
show fifth
----
[  65.750s] tm=tm-1 registered: 2 slots, 1 attempts
[  65.751s]   tm-1 <- complete attempt=1 ckpt=1
[  65.751s]   tm-1 <- cancel attempt=1 ckpt=1 terminal
[  65.760s] job=fifth/ffffffff CANCELED: what it had left in doubt is committed
  done/aaaaaaaa
  run/_cluster
  resolve/cccccccc
  done/cccccccc
  done/dddddddd
  done/eeeeeeee
  done/ffffffff
  cleanup/ffffffff/00000001
  status=CANCELED attempt=1 restarts=0 counted=0 newest=1 committed=1 failures=0
