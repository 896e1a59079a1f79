# The process of a TaskManager is killed, its machine lives: connections to its
# data port are refused, which proves it. Nobody waits for it to come back.

quiet
leader start
tm add tm-1 slots=2
tm add tm-2 slots=2
tm add tm-3 slots=2
submit wordcount parallelism=4 interval=1s
until wordcount RUNNING
run 2500ms
loud
tm die tm-2
run 200ms
----
[   2.553s] tm=tm-2 command stream ended: 1000 ms to come back
[   2.554s] tm=tm-2 lost: it is dead: its data port refuses connections
[   2.554s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: TaskManager tm-2 is dead: its data port refuses connections
[   2.557s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 2, delay 50 ms: TaskManager tm-2 is dead: its data port refuses connections
[   2.558s]   tm-1 <- cancel attempt=1 ckpt=2
[   2.558s]   tm-3 <- cancel attempt=1 ckpt=2
[   2.604s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[   2.607s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-1 x2, tm-3 x2
[   2.607s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   2.608s]   tm-1 <- prepare attempt=2
[   2.608s]   tm-3 <- prepare attempt=2
[   2.614s]   tm-1 <- run attempt=2 ckpt=2
[   2.614s]   tm-3 <- run attempt=2 ckpt=2
[   2.624s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   2.625s]   tm-1 <- complete attempt=2 ckpt=2
[   2.625s]   tm-3 <- complete attempt=2 ckpt=2

# Another's stream breaks, and something refuses connections for it although it lives. Its work is
# restarted, which costs time and nothing else. It comes back with its old attempt, which is
# cancelled...

quiet
run 2s
loud
tm blip tm-3
run 1s
----
[   4.753s] tm=tm-3 command stream ended: 1000 ms to come back
[   4.754s] tm=tm-3 lost: it is dead: its data port refuses connections
[   4.754s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: TaskManager tm-3 is dead: its data port refuses connections
[   4.757s] job=wordcount/aaaaaaaa region 0 attempt 3 recorded, restores checkpoint 4, delay 50 ms: TaskManager tm-3 is dead: its data port refuses connections
[   4.758s]   tm-1 <- cancel attempt=2 ckpt=4
[   4.804s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[   5.053s] tm=tm-3 registered: 2 slots, 1 attempts
[   5.054s]   tm-3 <- cancel attempt=2 ckpt=4
[   5.056s] job=wordcount/aaaaaaaa region 0 attempt 3 placed: tm-1 x2, tm-3 x2
[   5.056s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   5.057s]   tm-1 <- prepare attempt=3
[   5.057s]   tm-3 <- prepare attempt=3
[   5.063s]   tm-1 <- run attempt=3 ckpt=4
[   5.063s]   tm-3 <- run attempt=3 ckpt=4
[   5.073s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
[   5.074s]   tm-1 <- complete attempt=3 ckpt=4
[   5.074s]   tm-3 <- complete attempt=3 ckpt=4

# ... and from then on a refusal proves nothing about it: it has time to come back.

tm add tm-4 slots=2
tm blip tm-3
run 1s
show wordcount
----
[   5.758s] tm=tm-4 registered: 2 slots, 0 attempts
[   5.763s] tm=tm-3 command stream ended: 1000 ms to come back
[   6.063s] tm=tm-3 registered: 2 slots, 1 attempts
[   6.076s] job=wordcount/aaaaaaaa ckpt=5 begins: checkpoint
[   6.077s]   tm-1 <- trigger attempt=3 ckpt=5
[   6.077s]   tm-3 <- trigger attempt=3 ckpt=5
[   6.115s] job=wordcount/aaaaaaaa ckpt=5 completed: 2 objects, 2000 bytes
[   6.116s]   tm-1 <- complete attempt=3 ckpt=5
[   6.116s]   tm-3 <- complete attempt=3 ckpt=5
[   6.136s] storage removes jobs/a.../chk-4/
  status=RUNNING attempt=3 restarts=2 counted=0 newest=5 committed=4 failures=2
