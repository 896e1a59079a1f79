# A careful leader opens its jobs one by one. Slots that were given to a job whose turn has not come
# are known to nobody else: its TaskManager was not told before the leader died. So no slot is given
# before every job is opened.

quiet
leader start
submit waiter parallelism=3 interval=1h
submit holder parallelism=2 interval=1h
leader kill-at leader-placement-recorded
tm add tm-1 slots=2
tm add tm-2 slots=1
leader start
run 5ms
leader kill
leader start
leader kill
loud
leader start
run 1s
show waiter
show holder
----
[   0.025s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   0.025s] leads with epoch 8: 2 jobs to reconcile
[   0.028s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   0.029s] job=waiter/aaaaaaaa RECONCILING -> WAITING: needs slots
[   0.030s] tm=tm-1 registered: 2 slots, 0 attempts
[   0.031s] tm=tm-2 registered: 1 slots, 0 attempts
[   0.131s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[   0.132s] job=holder/bbbbbbbb RECONCILING -> DEPLOYING: slots are taken
[   0.133s]   tm-1 <- prepare attempt=1
[   0.139s]   tm-1 <- run attempt=1
[   0.149s] job=holder/bbbbbbbb DEPLOYING -> RUNNING: all its tasks run
  status=CREATED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0 trouble: waits for slots: 3 needed, 1 free on 2 TaskManagers
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0
