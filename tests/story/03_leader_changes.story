# The leader dies; its successor adopts what runs. No task hears of it.

quiet
leader start
tm add tm-1 slots=2
tm add tm-2 slots=2
submit wordcount parallelism=4 interval=10s
until wordcount RUNNING
run 9950ms
loud
tm hold tm-2 ack
run 100ms
----
[  10.046s] job=wordcount/aaaaaaaa ckpt=1 begins: checkpoint
[  10.047s]   tm-1 <- trigger attempt=1 ckpt=1
[  10.047s]   tm-2 <- trigger attempt=1 ckpt=1

# Checkpoint 1 is in flight: tm-1 has acknowledged it, tm-2 not yet.

leader kill
leader start
run 100ms
----
[  10.093s] the leader dies
[  10.093s] leads with epoch 8: 1 jobs to reconcile
[  10.103s] tm=tm-1 registered: 2 slots, 1 attempts
[  10.104s] tm=tm-2 registered: 2 slots, 1 attempts
[  10.104s] job=wordcount/aaaaaaaa RECONCILING -> RUNNING: adopted as it runs
[  10.105s]   tm-2 <- trigger attempt=1 ckpt=1

tm release tm-2 ack
run 200ms
show wordcount
----
[  10.235s] job=wordcount/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[  10.236s]   tm-1 <- complete attempt=1 ckpt=1
[  10.236s]   tm-2 <- complete attempt=1 ckpt=1
  status=RUNNING attempt=1 restarts=0 counted=0 newest=1 committed=0 failures=0

# TaskManagers that do not come back within the grace period count as lost;
# one whose process is another now (same id) is not waited for.

leader kill
tm away tm-1
leader start
run 4s
show wordcount
run 2s
show wordcount
----
[  10.393s] the leader dies
[  10.393s] leaders before crashed as they began -> wary: jobs are opened once that is recorded
[  10.393s] leads with epoch 11: 1 jobs to reconcile
[  10.396s] job=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa opened: 0 marks
[  10.404s] tm=tm-2 registered: 2 slots, 1 attempts
  status=RECONCILING attempt=1 restarts=0 counted=0 newest=1 committed=0 failures=0
[  15.396s] job=wordcount/aaaaaaaa RECONCILING -> RESTARTING: TaskManager tm-1 did not come back to the new leader
[  15.399s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 1, delay 50 ms: TaskManager tm-1 did not come back to the new leader
[  15.400s]   tm-2 <- cancel attempt=1 ckpt=1
[  15.446s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
  status=RESTARTING attempt=2 restarts=1 counted=0 newest=1 committed=0 failures=1 trouble: waits for slots: 4 needed, 2 free on 1 TaskManagers
