/* A strict C99 program can include the client's header, use its initialisers, and link the library. */
#include <fanq.h>

#include <string.h>

int main(void)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_list_options list = FANQ_LIST_OPTIONS_INIT;
    struct fanq_receive_options receive = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_consume_options consume = FANQ_CONSUME_OPTIONS_INIT;
    struct fanq_peek_options peek = FANQ_PEEK_OPTIONS_INIT;
    struct fanq_content content = fanq_text("four");
    struct fanq *client;
    int sizes = settings.size > 0 && list.size > 0 && receive.size > 0 && consume.size > 0 && peek.size > 0;

    if (!sizes || content.body_bytes != 4 || fanq_open("unix:/nowhere", &options, &client) != 0)
        return 1;
    fanq_free(client);
    return strcmp(fanq_error_name(FANQ_ERR_CLOSED), "CLOSED");
}
