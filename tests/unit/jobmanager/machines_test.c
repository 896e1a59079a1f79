/* The tables of the machines against the pictures in their headers. */
#include <criterion/criterion.h>
#include <string.h>

#include "jobmanager/ckpt.h"
#include "jobmanager/cleanup.h"
#include "jobmanager/job.h"

static void may(const struct sm_table *t, unsigned from, const char *expected)
{
	char said[512] = "";
	for (unsigned to = 0; to < t->n_states; to++)
		if (t->states[from].allowed & SM_TO(to)) {
			strncat(said, said[0] ? " " : "", sizeof(said) - strlen(said) - 1);
			strncat(said, t->states[to].name, sizeof(said) - strlen(said) - 1);
		}
	cr_expect_str_eq(said, expected, "%s: %s -> %s, expected %s", t->machine,
			 t->states[from].name, said, expected);
}

Test(machines, job)
{
	may(&job_table, JOB_CREATING, "WAITING");
	may(&job_table, JOB_RECONCILING,
	    "WAITING DEPLOYING RUNNING RESTARTING FINISHING CANCELLING FAILING");
	may(&job_table, JOB_WAITING, "DEPLOYING RESTARTING CANCELLING FAILING");
	may(&job_table, JOB_DEPLOYING,
	    "WAITING RUNNING RESTARTING FINISHING CANCELLING FAILING FINISHED");
	may(&job_table, JOB_RUNNING, "WAITING RESTARTING FINISHING CANCELLING FAILING FINISHED");
	may(&job_table, JOB_RESTARTING, "WAITING DEPLOYING CANCELLING FAILING FINISHED");
	may(&job_table, JOB_FINISHING, "WAITING RESTARTING CANCELLING FAILING FINISHED");
	may(&job_table, JOB_CANCELLING, "CANCELED");
	may(&job_table, JOB_FAILING, "FAILED");
	may(&job_table, JOB_FINISHED, "");
	may(&job_table, JOB_FAILED, "");
	may(&job_table, JOB_CANCELED, "");
}

Test(machines, checkpoint)
{
	may(&ckpt_table, CKPT_TRIGGERED, "SEALING DOOMED");
	may(&ckpt_table, CKPT_SEALING, "SEALED DOOMED");
	may(&ckpt_table, CKPT_SEALED, "");
	may(&ckpt_table, CKPT_DOOMED, "");
}

Test(machines, cleanup)
{
	may(&cleanup_table, CLEANUP_WAITING, "READING");
	may(&cleanup_table, CLEANUP_READING, "WAITING REMOVING");
	may(&cleanup_table, CLEANUP_REMOVING, "WAITING FORGETTING");
	may(&cleanup_table, CLEANUP_FORGETTING, "WAITING");
}
