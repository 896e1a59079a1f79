# A checkpoint was given up while a worker could not be told. Its tasks may hold channels for that
# barrier, and would do so until the next one: so it is told with its next registration.

quiet
leader start
tm add tm-1 slots=1
tm add tm-2 slots=1
submit wordcount parallelism=2 interval=1h timeout=2s tolerable=9
until wordcount RUNNING
tm hold tm-1 ack
tm hold tm-2 ack
run 1h
run 100ms
loud
tm drop tm-2
tm decline tm-1 ckpt=1 text=too_large
run 1s
----
[3600.143s] tm=tm-2 command stream ended: 1000 ms to come back
[3600.143s] job=wordcount/aaaaaaaa ckpt=1 declined by tm-1: too large
[3600.146s] job=wordcount/aaaaaaaa ckpt=1 given up: too large
[3600.147s]   tm-1 <- abort attempt=1 ckpt=1
[3600.443s] tm=tm-2 registered: 1 slots, 1 attempts
[3600.444s]   tm-2 <- abort attempt=1 ckpt=1

# A leader that dies as soon as giving up is recorded has told nobody; the next one does.

quiet
run 1h
loud
leader kill-at leader-given-up-recorded
tm decline tm-1 ckpt=2 text=too_large
run 100ms
leader start
run 500ms
----
[7201.143s] job=wordcount/aaaaaaaa ckpt=2 declined by tm-1: too large
[7201.146s] at leader-given-up-recorded
[7201.146s] the leader dies
[7201.243s] leads with epoch 12: 1 jobs to reconcile
[7201.253s] tm=tm-1 registered: 1 slots, 1 attempts
[7201.254s] tm=tm-2 registered: 1 slots, 1 attempts
[7201.254s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[7201.255s]   tm-1 <- abort attempt=1 ckpt=1
[7201.255s]   tm-1 <- abort attempt=1 ckpt=2
[7201.255s]   tm-2 <- abort attempt=1 ckpt=1
[7201.255s]   tm-2 <- abort attempt=1 ckpt=2
[7201.315s] storage removes jobs/a.../chk-2/

# A new attempt is told nothing of what was before it.

quiet
tm restart tm-2
run 2s
loud
tm drop tm-1
run 1s
show wordcount
----
[7203.743s] tm=tm-1 command stream ended: 1000 ms to come back
[7204.043s] tm=tm-1 registered: 1 slots, 1 attempts
  status=RUNNING attempt=2 restarts=1 counted=0 newest=0 committed=0 failures=1
