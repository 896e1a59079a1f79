# etcd is away: the leader is suspended. It decides nothing and commands
# nothing; facts go on being taken, and it goes on where it was.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=1s
until wordcount RUNNING
loud
leader suspend
run 20s
show wordcount
cancel wordcount
----
[   0.033s] suspended: decides nothing with epoch 1
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0
[  20.033s] answer: UNAVAILABLE: leadership is suspended: etcd cannot be reached, so nothing can be decided now; tasks go on

leader resume
run 1100ms
----
[  20.033s] goes on leading with epoch 1
[  20.036s] job=wordcount/aaaaaaaa ckpt=1 begins: checkpoint
[  20.037s]   tm-1 <- trigger attempt=1 ckpt=1
[  20.075s] job=wordcount/aaaaaaaa ckpt=1 completed: 1 objects, 1000 bytes
[  20.076s]   tm-1 <- complete attempt=1 ckpt=1
[  21.039s] job=wordcount/aaaaaaaa ckpt=2 begins: checkpoint
[  21.040s]   tm-1 <- trigger attempt=1 ckpt=2
[  21.078s] job=wordcount/aaaaaaaa ckpt=2 completed: 1 objects, 1000 bytes
[  21.079s]   tm-1 <- complete attempt=1 ckpt=2
[  21.099s] storage removes jobs/a.../chk-1/

# A job whose creation the dead leader only asked for: never answered, and
# either there or not; the client repeats it with the same id.

leader kill-lost
leader start
run 100ms
submit again parallelism=2
leader kill
run 100ms
leader start
run 50ms
submit again parallelism=2
submit again parallelism=1
run 50ms
----
[  21.133s] the leader dies
[  21.133s] leads with epoch 12: 1 jobs to reconcile
[  21.143s] tm=tm-1 registered: 2 slots, 1 attempts
[  21.143s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[  21.233s] the leader dies
[  21.333s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[  21.333s] leads with epoch 15: 2 jobs to reconcile
[  21.336s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[  21.336s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[  21.337s] job=again/bbbbbbbb RECONCILING -> WAITING: needs slots
[  21.343s] tm=tm-1 registered: 2 slots, 1 attempts
[  21.343s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[  21.383s] answer: OK
[  21.383s] answer: EXISTS: jobId: job bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb exists with another specification
