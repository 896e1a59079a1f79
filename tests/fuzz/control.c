/* What JobManager and TaskManagers tell one another: commands, reports, registrations. */
#include "rest/control.h"
#include "fuzz.h"

#define HEAD "\"seq\":7,\"epoch\":3,\"registration\":9"
#define WHO  ",\"job\":\"0123456789abcdef0123456789abcdef\",\"region\":0,\"attempt\":2"

const char *const fuzz_seeds[] = {
	"{\"command\":\"prepare\"," HEAD WHO ",\"spec\":{},\"subtasks\":[[0,0],[1,3]]}",
	"{\"command\":\"run\"," HEAD WHO
	",\"checkpoint\":4,\"peers\":[{\"tm\":\"tm-1\",\"instance\":"
	"\"ab\",\"address\":\"10.0.0.1:99\",\"subtasks\":[[0,1]]}],\"restore\":{\"checkpoint\":4,"
	"\"manifest\":\"jobs/x\",\"checksum\":\"ff\"}}",
	"{\"command\":\"trigger\"," HEAD WHO ",\"checkpoint\":5,\"trigger\":\"checkpoint\"}",
	"{\"registration\":9,\"epoch\":3,\"reports\":[{\"report\":\"ack\",\"seq\":1" WHO
	",\"checkpoint\":5,\"object\":{\"path\":\"p\",\"bytes\":5,\"checksum\":\"00\"},\"stats\":{}},"
	"{\"report\":\"failed\",\"seq\":2" WHO ",\"text\":\"t\",\"external\":true}]}",
	"{\"id\":\"tm-1\",\"instance\":\"0123456789abcdef0123456789abcdef\",\"slots\":4,"
	"\"dataAddress\":\"10.0.0.1:99\",\"pid\":12,\"highest\":3,\"cookie\":\"\",\"items\":[]}",
	NULL};

void fuzz_one(const char *data, size_t size)
{
	struct control_command_msg command;
	struct control_reports reports;
	struct control_registration registration;
	if (control_command_decode(data, size, &command, NULL) == ERR_OK)
		control_command_fini(&command);
	if (control_reports_decode(data, size, &reports, NULL) == ERR_OK)
		control_reports_fini(&reports);
	if (control_registration_decode(data, size, &registration, NULL) == ERR_OK)
		control_registration_fini(&registration);
}
