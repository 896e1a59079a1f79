# Leaders that are killed from outside, one as soon as the next has begun, are not the job's fault:
# each had adopted it before it died.

quiet
leader start
tm add tm-1 slots=4
submit good parallelism=2 interval=1h
until good RUNNING
run 3s
loud
leader kill
leader start
run 300ms
leader kill
leader start
run 300ms
leader kill
leader start
run 300ms
leader kill
leader start
run 300ms
leader kill
leader start
run 300ms
leader kill
leader start
run 300ms
leader kill
leader start
run 300ms
show good
run 2s
leader kill
leader start
run 300ms
show good
----
[   3.033s] the leader dies
[   3.033s] leads with epoch 7: 1 jobs to reconcile
[   3.043s] tm=tm-1 registered: 4 slots, 1 attempts
[   3.043s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   3.333s] the leader dies
[   3.333s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[   3.333s] leads with epoch 9: 1 jobs to reconcile
[   3.336s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.343s] tm=tm-1 registered: 4 slots, 1 attempts
[   3.343s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   3.633s] the leader dies
[   3.633s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   3.633s] leads with epoch 11: 1 jobs to reconcile
[   3.636s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.643s] tm=tm-1 registered: 4 slots, 1 attempts
[   3.643s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   3.933s] the leader dies
[   3.933s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   3.933s] leads with epoch 14: 1 jobs to reconcile
[   3.936s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.943s] tm=tm-1 registered: 4 slots, 1 attempts
[   3.943s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   4.233s] the leader dies
[   4.233s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   4.233s] leads with epoch 17: 1 jobs to reconcile
[   4.236s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   4.243s] tm=tm-1 registered: 4 slots, 1 attempts
[   4.243s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   4.533s] the leader dies
[   4.533s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   4.533s] leads with epoch 20: 1 jobs to reconcile
[   4.536s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   4.543s] tm=tm-1 registered: 4 slots, 1 attempts
[   4.543s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   4.833s] the leader dies
[   4.833s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   4.833s] leads with epoch 23: 1 jobs to reconcile
[   4.836s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   4.843s] tm=tm-1 registered: 4 slots, 1 attempts
[   4.843s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0
[   7.133s] the leader dies
[   7.133s] leads with epoch 27: 1 jobs to reconcile
[   7.143s] tm=tm-1 registered: 4 slots, 1 attempts
[   7.143s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0
