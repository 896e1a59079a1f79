# The end of a job whose sinks died between completion and commit: one more
# attempt restores the newest checkpoint, only to commit it.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=1s
until wordcount RUNNING
tm hold tm-1 committed
run 1500ms
tm add tm-2 slots=2
loud
cancel wordcount
tm kill tm-1
run 1500ms
store show
show wordcount
----
[   1.543s] tm=tm-1 command stream ended: 1000 ms to come back
[   1.546s] answer: OK
[   1.546s] job=wordcount/aaaaaaaa RUNNING -> CANCELLING: as asked
[   2.543s] tm=tm-1 lost: it went away and did not come back
[   2.546s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 1, delay 0 ms: only to commit
[   2.546s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-2 x2
[   2.547s]   tm-2 <- prepare attempt=2
[   2.553s]   tm-2 <- run attempt=2 ckpt=1 only to commit
[   2.564s]   tm-2 <- complete attempt=2 ckpt=1
[   2.572s] job=wordcount/aaaaaaaa CANCELLING -> CANCELED: what was completed is committed
[   2.573s]   tm-2 <- cancel attempt=2 ckpt=1 terminal
  run/_cluster
  cleanup/aaaaaaaa/00000001
  done/aaaaaaaa
  status=CANCELED attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1

# A job that failed for good, likewise: its worker died with what it had not
# committed.

quiet
submit other parallelism=2 interval=1s restart=none
until other RUNNING
tm hold tm-2 committed
run 1500ms
loud
tm fail tm-2 text=broken
run 100ms
tm release tm-2 committed
run 1s
store show
show other
----
[   4.566s] job=other/bbbbbbbb RUNNING -> RESTARTING: broken
[   4.569s] job=other/bbbbbbbb RESTARTING -> FAILING: broken (restart strategy none)
[   4.572s] job=other/bbbbbbbb region 0 attempt 2 recorded, restores checkpoint 1, delay 0 ms: only to commit
[   4.572s] job=other/bbbbbbbb region 0 attempt 2 placed: tm-2 x2
[   4.573s]   tm-2 <- complete attempt=1 ckpt=1
[   4.573s]   tm-2 <- cancel attempt=1 ckpt=1
[   4.573s]   tm-2 <- prepare attempt=2
[   4.579s]   tm-2 <- run attempt=2 ckpt=1 only to commit
[   4.590s]   tm-2 <- complete attempt=2 ckpt=1
[   4.698s] job=other/bbbbbbbb FAILING -> FAILED: broken (restart strategy none)
[   4.699s]   tm-2 <- cancel attempt=2 ckpt=1 terminal
  run/_cluster
  cleanup/aaaaaaaa/00000001
  done/aaaaaaaa
  done/bbbbbbbb
  status=FAILED attempt=2 restarts=1 counted=1 newest=1 committed=1 failures=1

# The leader dies while that attempt is being deployed: the next one goes on with
# it.

quiet
submit third parallelism=2 interval=1s
until third RUNNING
tm hold tm-2 committed
run 1500ms
tm add tm-3 slots=2
tm hold tm-3 prepared
cancel third
tm kill tm-2
run 1200ms
loud
leader kill
leader start
tm release tm-3 prepared
run 500ms
show third
----
[   8.399s] the leader dies
[   8.399s] leads with epoch 27: 1 jobs to reconcile
[   8.399s] job=third/cccccccc RECONCILING -> CANCELLING: as asked
[   8.411s] tm=tm-3 registered: 2 slots, 1 attempts
[   8.412s]   tm-3 <- run attempt=2 ckpt=1 only to commit
[   8.423s]   tm-3 <- complete attempt=2 ckpt=1
[   8.431s] job=third/cccccccc CANCELLING -> CANCELED: what was completed is committed
[   8.432s]   tm-3 <- cancel attempt=2 ckpt=1 terminal
[   8.471s] storage removes jobs/a.../
  status=CANCELED attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1

# Without a place nothing is recorded: who ran may yet come back. After the commit
# timeout the job ends, and what is missing is named.

quiet
submit fourth parallelism=2 interval=1s
until fourth RUNNING
tm hold tm-3 committed
run 1500ms
cancel fourth
tm kill tm-3
loud
run 12s
store show
show fourth
----
[  10.425s] answer: OK
[  10.425s] job=fourth/dddddddd RUNNING -> CANCELLING: as asked
[  11.422s] tm=tm-3 lost: it went away and did not come back
[  18.452s] storage removes jobs/c.../
[  20.428s] job=fourth/dddddddd CANCELLING -> CANCELED: not all that was completed is committed
  run/_cluster
  done/cccccccc
  done/aaaaaaaa
  done/bbbbbbbb
  resolve/dddddddd
  done/dddddddd
  status=CANCELED attempt=1 restarts=0 counted=0 newest=1 committed=0 failures=0 trouble: not every sink confirmed checkpoint 1, its output may be incomplete: TaskManager tm-3 went away and did not come back

# A place within that time is enough.

quiet
tm add tm-4 slots=2
submit fifth parallelism=2 interval=1s
until fifth RUNNING
tm hold tm-4 committed
run 1500ms
cancel fifth
tm kill tm-4
run 4s
loud
tm add tm-5 slots=2
run 500ms
show fifth
----
[  27.960s] tm=tm-5 registered: 2 slots, 0 attempts
[  27.963s] job=fifth/eeeeeeee region 0 attempt 2 recorded, restores checkpoint 1, delay 0 ms: only to commit
[  27.963s] job=fifth/eeeeeeee region 0 attempt 2 placed: tm-5 x2
[  27.964s]   tm-5 <- prepare attempt=2
[  27.970s]   tm-5 <- run attempt=2 ckpt=1 only to commit
[  27.981s]   tm-5 <- complete attempt=2 ckpt=1
[  27.989s] job=fifth/eeeeeeee CANCELLING -> CANCELED: what was completed is committed
[  27.990s]   tm-5 <- cancel attempt=2 ckpt=1 terminal
  status=CANCELED attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1
