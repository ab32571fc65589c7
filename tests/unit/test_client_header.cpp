// A C++ program can include the client's header, use its initialisers, and link the library.
#include <fanq.h>

#include <cstring>

static fanq_options options = FANQ_OPTIONS_INIT;
static fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
static fanq_list_options list = FANQ_LIST_OPTIONS_INIT;
static fanq_receive_options receive = FANQ_RECEIVE_OPTIONS_INIT;
static fanq_consume_options consume = FANQ_CONSUME_OPTIONS_INIT;
static fanq_peek_options peek = FANQ_PEEK_OPTIONS_INIT;

int main()
{
    struct fanq *client = nullptr;
    fanq_content content = fanq_text("four");
    bool sizes = settings.size > 0 && list.size > 0 && receive.size > 0 && consume.size > 0 && peek.size > 0;

    if (!sizes || content.body_bytes != 4 || fanq_open("unix:/nowhere", &options, &client) != 0)
        return 1;
    int err = fanq_send(client, "q", &content, nullptr, nullptr);
    fanq_free(client);
    return err == 0 && std::strcmp(fanq_error_name(FANQ_ERR_CLOSED), "CLOSED") == 0 ? 0 : 1;
}
