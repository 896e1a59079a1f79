# Who comes first in a store that went back in time is suspended before it has done anything: it
# opens no job, even when nobody before it crashed. (Here the store is believed again later.)

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=1s
until wordcount RUNNING
loud
leader resign
run 100ms
leader start-suspended
run 2s
show wordcount
leader resume
run 300ms
show wordcount
----
[   0.033s] the leader hands over
[   0.133s] leads with epoch 6: 1 jobs to reconcile, but suspended: decides nothing
[   0.143s] tm=tm-1 registered: 2 slots, 1 attempts
  not opened: its turn has not come, 0 marks
[   2.133s] goes on leading with epoch 6
[   2.133s] tm=tm-1 has tasks of a job that was opened just now -> it has to register again
[   2.233s] tm=tm-1 registered: 2 slots, 1 attempts
[   2.233s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0
