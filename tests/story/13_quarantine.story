# A job that kills whoever opens it is found out, and held; the other goes on.

quiet
leader start
tm add tm-1 slots=4
submit good parallelism=2 interval=1h
submit bad parallelism=2 interval=1h
until good RUNNING
until bad RUNNING
run 3s
poison bad
loud
leader kill
leader succession
----
[   3.033s] the leader dies
[   3.033s] leads with epoch 10: 2 jobs to reconcile
[   3.033s] at leader-open-bbbbbbbbbbbbbbb
[   3.033s] the leader dies
[   3.033s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[   3.033s] leads with epoch 11: 2 jobs to reconcile
[   3.036s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.036s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[   3.036s] at leader-open-bbbbbbbbbbbbbbb
[   3.036s] the leader dies
[   3.036s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   3.036s] leads with epoch 13: 2 jobs to reconcile
[   3.039s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.043s] tm=tm-1 registered: 4 slots, 2 attempts
[   3.043s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   3.142s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[   3.142s] tm=tm-1 has tasks of a job that was opened just now -> it has to register again
[   3.142s] at leader-open-bbbbbbbbbbbbbbb
[   3.142s] the leader dies
[   3.142s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   3.142s] leads with epoch 16: 2 jobs to reconcile
[   3.145s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.152s] tm=tm-1 registered: 4 slots, 2 attempts
[   3.152s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   3.248s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 1 marks
[   3.248s] tm=tm-1 has tasks of a job that was opened just now -> it has to register again
[   3.248s] at leader-open-bbbbbbbbbbbbbbb
[   3.248s] the leader dies
[   3.248s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   3.248s] leads with epoch 19: 2 jobs to reconcile
[   3.251s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.258s] tm=tm-1 registered: 4 slots, 2 attempts
[   3.258s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[   3.354s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 2 marks
[   3.354s] tm=tm-1 has tasks of a job that was opened just now -> it has to register again
[   3.354s] at leader-open-bbbbbbbbbbbbbbb
[   3.354s] the leader dies
[   3.354s] leaders before crashed as they began -> careful: jobs are opened one by one, each behind a mark
[   3.354s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb quarantined: it crashed 3 leaders in a row -> its tasks are left alone
[   3.354s] leads with epoch 22: 2 jobs to reconcile
[   3.357s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[   3.364s] tm=tm-1 registered: 4 slots, 2 attempts
[   3.364s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs

show good
show bad
store show
----
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0
  not opened: quarantined, 3 marks
  spec/aaaaaaaa
  run/aaaaaaaa
  spec/bbbbbbbb
  run/bbbbbbbb
  run/_cluster

# Its tasks were left alone: nobody was told anything about it. They may run on, so their slots are
# not given to others.

submit third parallelism=2 interval=1h
run 1s
show third
cancel third
run 1s
----
[   6.357s] answer: OK
  status=CREATED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0 trouble: waits for slots: 2 needed, 0 free on 1 TaskManagers
[   7.357s] answer: OK
[   7.357s] job=third/cccccccc WAITING -> CANCELLING: as asked
[   7.360s] job=third/cccccccc CANCELLING -> CANCELED: what was completed is committed

# It cannot be cancelled while it is not opened.

cancel bad
release good
run 1s
----
[   8.354s] answer: UNAVAILABLE: Job bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb is not opened: it may be quarantined; release it first
[   8.354s] answer: CONFLICT: Job aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is not quarantined

# Five minutes later it is tried again, and kills again; asked for after it was mended, it goes on.

run 5min
----
[  17.381s] storage removes jobs/c.../
[ 303.357s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 3 marks
[ 303.357s] tm=tm-1 has tasks of a job that was opened just now -> it has to register again
[ 303.357s] at leader-open-bbbbbbbbbbbbbbb
[ 303.357s] the leader dies

quiet
leader succession
loud
show bad
poison none
release bad
run 3s
show bad
----
  not opened: quarantined, 4 marks
[ 312.354s] answer: OK
[ 312.357s] tm=tm-1 has tasks of a job that was opened just now -> it has to register again
[ 312.457s] tm=tm-1 registered: 4 slots, 2 attempts
[ 312.457s] job=bad/bbbbbbbb RECONCILING -> RUNNING: adopted as it runs
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0

# No marks are set in a store that takes none: then all jobs are opened, as if nobody had crashed.

poison bad
store full
leader kill
leader start
leader start
leader start
store free
poison none
leader start
run 1s
----
[ 315.354s] the leader dies
[ 315.354s] leads with epoch 37: 2 jobs to reconcile
[ 315.354s] at leader-open-bbbbbbbbbbbbbbb
[ 315.354s] the leader dies
[ 315.354s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[ 315.354s] leads with epoch 38: 2 jobs to reconcile
[ 315.354s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[ 315.354s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[ 315.354s] at leader-open-bbbbbbbbbbbbbbb
[ 315.354s] the leader dies
[ 315.354s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[ 315.354s] leads with epoch 39: 2 jobs to reconcile
[ 315.354s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[ 315.354s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[ 315.354s] at leader-open-bbbbbbbbbbbbbbb
[ 315.354s] the leader dies
[ 315.354s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[ 315.354s] leads with epoch 40: 2 jobs to reconcile
[ 315.357s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[ 315.357s] job=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb opened: 0 marks
[ 315.364s] tm=tm-1 registered: 4 slots, 2 attempts
[ 315.364s] job=good/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[ 315.364s] job=bad/bbbbbbbb RECONCILING -> RUNNING: adopted as it runs
