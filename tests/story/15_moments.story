# The leader dies in the middle of sending: one TaskManager was told, the other was not.

quiet
leader start
tm add tm-1 slots=2
tm add tm-2 slots=2
leader kill-at leader-prepared
submit wordcount parallelism=4 interval=5s
run 100ms
loud
leader start
until wordcount RUNNING
----
[   0.120s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[   0.120s] leads with epoch 5: 1 jobs to reconcile
[   0.123s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   0.130s] tm=tm-1 registered: 2 slots, 1 attempts
[   0.131s] tm=tm-2 registered: 2 slots, 0 attempts
[   0.131s] job=wordcount/aaaaaaaa RECONCILING -> DEPLOYING: slots are taken
[   0.132s]   tm-2 <- prepare attempt=1
[   0.138s]   tm-1 <- run attempt=1
[   0.138s]   tm-2 <- run attempt=1
[   0.148s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run

# Half of the triggers. Checkpoint 1 keeps its id, nothing is restarted.

leader kill-at leader-triggered
run 6s
leader start
run 200ms
show wordcount
----
[   5.151s] job=wordcount/aaaaaaaa ckpt=1 begins: checkpoint
[   5.151s] at leader-triggered
[   5.151s] the leader dies
[   5.152s]   tm-1 <- trigger attempt=1 ckpt=1
[   6.148s] leads with epoch 10: 1 jobs to reconcile
[   6.158s] tm=tm-1 registered: 2 slots, 1 attempts
[   6.159s] tm=tm-2 registered: 2 slots, 1 attempts
[   6.159s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   6.160s]   tm-2 <- trigger attempt=1 ckpt=1
[   6.198s] job=wordcount/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[   6.199s]   tm-1 <- complete attempt=1 ckpt=1
[   6.199s]   tm-2 <- complete attempt=1 ckpt=1
  status=RUNNING attempt=1 restarts=0 counted=0 newest=1 committed=0 failures=0

# Half of the announcements of checkpoint 2.

leader kill-at leader-complete-sent
run 6s
leader start
run 200ms
show wordcount
----
[  11.162s] job=wordcount/aaaaaaaa ckpt=2 begins: checkpoint
[  11.163s]   tm-1 <- trigger attempt=1 ckpt=2
[  11.163s]   tm-2 <- trigger attempt=1 ckpt=2
[  11.201s] job=wordcount/aaaaaaaa ckpt=2 completed: 2 objects, 2000 bytes
[  11.201s] at leader-complete-sent
[  11.201s] the leader dies
[  11.202s]   tm-1 <- complete attempt=1 ckpt=2
[  12.348s] leads with epoch 16: 1 jobs to reconcile
[  12.358s] tm=tm-1 registered: 2 slots, 1 attempts
[  12.359s] tm=tm-2 registered: 2 slots, 1 attempts
[  12.359s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[  12.360s]   tm-2 <- complete attempt=1 ckpt=2
[  12.420s] storage removes jobs/a.../chk-1/
  status=RUNNING attempt=1 restarts=0 counted=0 newest=2 committed=1 failures=0

# All acknowledged and the manifest stored, the pointer not recorded.

leader kill-at leader-manifest-stored
run 6s
leader start
run 200ms
show wordcount
----
[  17.362s] job=wordcount/aaaaaaaa ckpt=3 begins: checkpoint
[  17.363s]   tm-1 <- trigger attempt=1 ckpt=3
[  17.363s]   tm-2 <- trigger attempt=1 ckpt=3
[  17.398s] at leader-manifest-stored
[  17.398s] the leader dies
[  18.548s] leads with epoch 21: 1 jobs to reconcile
[  18.558s] tm=tm-1 registered: 2 slots, 1 attempts
[  18.559s] tm=tm-2 registered: 2 slots, 1 attempts
[  18.559s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[  18.582s] job=wordcount/aaaaaaaa ckpt=3 completed: 2 objects, 2000 bytes
[  18.583s]   tm-1 <- complete attempt=1 ckpt=3
[  18.583s]   tm-2 <- complete attempt=1 ckpt=3
[  18.603s] storage removes jobs/a.../chk-2/
  status=RUNNING attempt=1 restarts=0 counted=0 newest=3 committed=2 failures=0

# The attempt is recorded, nothing of the old one was cancelled.

leader kill-at leader-attempt-recorded
tm fail tm-1
run 10ms
leader start
until wordcount RUNNING
show wordcount
----
[  18.748s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: division by zero
[  18.751s] at leader-attempt-recorded
[  18.751s] the leader dies
[  18.758s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[  18.758s] leads with epoch 26: 1 jobs to reconcile
[  18.761s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[  18.762s] job=wordcount/aaaaaaaa RECONCILING -> RESTARTING: division by zero
[  18.768s] tm=tm-1 registered: 2 slots, 1 attempts
[  18.769s] tm=tm-2 registered: 2 slots, 1 attempts
[  18.769s]   tm-1 <- cancel attempt=1 ckpt=3
[  18.770s]   tm-2 <- cancel attempt=1 ckpt=3
[  18.848s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[  18.851s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-1 x2, tm-2 x2
[  18.851s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[  18.852s]   tm-1 <- prepare attempt=2
[  18.852s]   tm-2 <- prepare attempt=2
[  18.858s]   tm-1 <- run attempt=2 ckpt=3
[  18.858s]   tm-2 <- run attempt=2 ckpt=3
[  18.868s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
  status=RESTARTING attempt=2 restarts=1 counted=1 newest=3 committed=3 failures=1

# Half of run.

quiet
run 3s
leader kill-at leader-run-sent
tm fail tm-2
run 3s
loud
leader start
until wordcount RUNNING
show wordcount
----
[  24.868s] leads with epoch 33: 1 jobs to reconcile
[  24.878s] tm=tm-1 registered: 2 slots, 1 attempts
[  24.879s] tm=tm-2 registered: 2 slots, 1 attempts
[  24.879s] job=wordcount/aaaaaaaa RECONCILING -> DEPLOYING: slots are taken
[  24.880s]   tm-2 <- run attempt=3 ckpt=3
[  24.880s]   tm-1 <- complete attempt=3 ckpt=3
[  24.890s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
  status=RESTARTING attempt=3 restarts=2 counted=2 newest=3 committed=3 failures=2

# Cancel: the intent is recorded, its client was not answered; then the end is, and no worker told.

run 3s
leader kill-at leader-cancel-recorded
cancel wordcount
run 10ms
leader start
leader kill-at leader-terminal-recorded
run 100ms
leader start
run 100ms
show wordcount
store show
----
[  24.891s]   tm-2 <- complete attempt=3 ckpt=3
[  27.893s] at leader-cancel-recorded
[  27.893s] the leader dies
[  27.900s] leads with epoch 38: 1 jobs to reconcile
[  27.900s] job=wordcount/aaaaaaaa RECONCILING -> CANCELLING: as asked
[  27.910s] tm=tm-1 registered: 2 slots, 1 attempts
[  27.911s] tm=tm-2 registered: 2 slots, 1 attempts
[  27.914s] at leader-terminal-recorded
[  27.914s] the leader dies
[  28.000s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[  28.000s] leads with epoch 40: 0 jobs to reconcile
[  28.010s] tm=tm-1 registered: 2 slots, 1 attempts
[  28.011s] tm=tm-2 registered: 2 slots, 1 attempts
[  28.052s]   tm-1 <- cancel attempt=3 ckpt=3 terminal
[  28.052s]   tm-2 <- cancel attempt=3 ckpt=3 terminal
[  28.072s] storage removes jobs/a.../
  status=CANCELED attempt=3 restarts=2 counted=2 newest=3 committed=3 failures=2
  run/_cluster
  done/aaaaaaaa
