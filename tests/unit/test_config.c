/* Flags, environment, and the error texts that say what to type next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "config.h"

static char error[CONFIG_ERROR_BYTES];

/* Reads a line of flags and a line of variables, both split at blanks. */
static int read_config(struct config *ret_config, const char *flags, const char *variables)
{
    static char flag_text[512], variable_text[512];
    static char *argv[32], *env[32];
    int argc = 0, count = 0;
    char *save;

    snprintf(flag_text, sizeof(flag_text), "fanqd %s", flags);
    snprintf(variable_text, sizeof(variable_text), "%s", variables);
    for (char *at = strtok_r(flag_text, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save))
        argv[argc++] = at;
    argv[argc] = NULL;
    for (char *at = strtok_r(variable_text, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save))
        env[count++] = at;
    env[count] = NULL;
    return config_read(ret_config, argc, argv, env, error);
}

static void expect_error(int code, const char *flags, const char *variables, const char *text)
{
    struct config config;

    assert_int_equal(read_config(&config, flags, variables), code);
    if (strstr(error, text) == NULL)
        fail_msg("'%s' does not say '%s'", error, text);
}

static void defaults_are_loopback_and_memory(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(read_config(&c, "", ""), 0);
    assert_int_equal(c.action, CONFIG_RUN);
    assert_int_equal(c.port, 9320);
    assert_int_equal(c.listen_count, 1);
    assert_string_equal(c.listens[0].host, "127.0.0.1");
    assert_int_equal(c.listens[0].port, -1);
    assert_int_equal(c.connections_max, 10000);
    assert_int_equal(c.frame_bytes_max, 8 * 1024 * 1024);
    assert_int_equal(c.in_flight_per_queue_max, 120000);
    assert_true(c.memory_bytes_max > 0 && c.memory_bytes_max <= CONFIG_MIB(1024));
    assert_null(c.unix_path);
    assert_int_equal(c.auto_create, CONFIG_AUTO_CREATE_DEFAULT);
}

static void what_kubernetes_says_of_a_service_is_not_for_us(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(read_config(&c, "",
                                 "FANQD_SERVICE_HOST=10.0.0.1 FANQD_SERVICE_PORT=9320 "
                                 "FANQD_PORT=tcp://10.0.0.1:9320 FANQD_PORT_9320_TCP=tcp://10.0.0.1:9320 "
                                 "FANQD_PORT_9320_TCP_ADDR=10.0.0.1 FANQD_PORT_FILE=here"),
                     0);
    assert_int_equal(c.port, 9320);
    assert_string_equal(c.port_file, "here");
}

static void flags_win_over_environment(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(
        read_config(&c, "--port 1 --listen ::1", "FANQD_PORT=2 FANQD_QUEUES_MAX=7 FANQD_LISTEN=0.0.0.0"), 0);
    assert_int_equal(c.port, 1);
    assert_int_equal(c.queues_max, 7);
    assert_int_equal(c.listen_count, 1);
    assert_string_equal(c.listens[0].host, "::1");
    assert_int_equal(read_config(&c, "", "FANQD_LISTEN=0.0.0.0:77 HOME=/root"), 0);
    assert_string_equal(c.listens[0].host, "0.0.0.0");
    assert_int_equal(c.listens[0].port, 77);
}

static void words_are_understood(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(read_config(&c,
                                 "--memory --auto-create off --unix /a --port-file=/b --frame-bytes-max 16M "
                                 "--hello-ms-max 2s --listen 10.0.0.1 --listen [::]:5",
                                 ""),
                     0);
    assert_int_equal(c.auto_create, CONFIG_AUTO_CREATE_OFF);
    assert_string_equal(c.unix_path, "/a");
    assert_string_equal(c.port_file, "/b");
    assert_int_equal(c.frame_bytes_max, 16 * 1024 * 1024);
    assert_int_equal(c.hello_ms_max, 2000);
    assert_int_equal(c.listen_count, 2);
    assert_int_equal(c.listens[1].port, 5);
    assert_int_equal(read_config(&c, "--help", ""), 0);
    assert_int_equal(c.action, CONFIG_HELP);
    assert_int_equal(read_config(&c, "--version", ""), 0);
    assert_int_equal(c.action, CONFIG_VERSION);
    assert_int_equal(read_config(&c, "--listen none --unix /a", ""), 0);
    assert_int_equal(c.listen_count, 0);
}

static void the_cache_is_a_part_of_the_memory(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(read_config(&c, "-d /a --memory-bytes-max 1G", ""), 0);
    assert_int_equal(c.cache_bytes_max, CONFIG_MIB(32));
    assert_int_equal(read_config(&c, "-d /a --memory-bytes-max 80M", ""), 0);
    assert_int_equal(c.cache_bytes_max, CONFIG_MIB(20));
    assert_int_equal(read_config(&c, "-d /a --memory-bytes-max 32M", ""), 0);
    assert_int_equal(c.cache_bytes_max, CONFIG_MIB(16));
    assert_int_equal(read_config(&c, "--memory --memory-bytes-max 16M", ""), 0);
    expect_error(CONFIG_EXIT_CONFIG, "-d /a --memory-bytes-max 31M", "",
                 "at most a quarter of memory_bytes_max");
    expect_error(CONFIG_EXIT_CONFIG, "-d /a --memory-bytes-max 64M --cache-bytes-max 33M", "",
                 "at most half of memory_bytes_max");
}

static void switches_can_be_off_in_the_environment(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(read_config(&c, "-d /a", "FANQD_MEMORY=1"), 0);
    assert_false(c.memory);
    assert_int_equal(read_config(&c, "", "FANQD_MEMORY=0 FANQD_DIR=/a FANQD_ACCEPT_LOSS=off"), 0);
    assert_false(c.memory || c.accept_loss);
    assert_int_equal(read_config(&c, "", "FANQD_MEMORY=on"), 0);
    assert_true(c.memory);
    assert_int_equal(read_config(&c, "--memory", "FANQD_DIR=/a"), 0);
    assert_true(c.memory);
    expect_error(CONFIG_EXIT_CONFIG, "", "FANQD_MEMORY=maybe", "'on' or 'off'");
    expect_error(CONFIG_EXIT_USAGE, "--memory --dir /a", "", "give one of them");
    expect_error(CONFIG_EXIT_USAGE, "--dir /a --memory", "", "give one of them");
    expect_error(CONFIG_EXIT_CONFIG, "", "FANQD_DIR=/a FANQD_MEMORY=yes", "give one of them");
}

static void errors_say_what_to_type(void **state)
{
    (void)state;
    expect_error(CONFIG_EXIT_USAGE, "--frame-byte-max 1M", "", "Did you mean --frame-bytes-max?");
    expect_error(CONFIG_EXIT_USAGE, "--prot=1", "", "Did you mean --port?");
    expect_error(CONFIG_EXIT_USAGE, "-p 1", "", "unknown flag -p");
    expect_error(CONFIG_EXIT_USAGE, "--memory=1", "", "--memory takes no value");
    expect_error(CONFIG_EXIT_USAGE, "--bogus", "", "unknown flag --bogus. fanqd");
    expect_error(CONFIG_EXIT_USAGE, "--port", "", "--port needs a value");
    expect_error(CONFIG_EXIT_USAGE, "--port x", "", "a whole number");
    expect_error(CONFIG_EXIT_USAGE, "--port 65536", "", "between 0 and 65535");
    expect_error(CONFIG_EXIT_USAGE, "--hello-ms-max 3y", "", "a duration such as");
    expect_error(CONFIG_EXIT_USAGE, "--frame-bytes-max 3q", "", "a size such as");
    expect_error(CONFIG_EXIT_USAGE, "--auto-create maybe", "", "'on' or 'off'");
    expect_error(CONFIG_EXIT_USAGE, "--listen :1", "", "an address such as");
    expect_error(CONFIG_EXIT_USAGE, "start", "", "takes no argument 'start'");
    expect_error(CONFIG_EXIT_CONFIG, "", "FANQD_PROT=1", "Did you mean FANQD_PORT?");
    expect_error(CONFIG_EXIT_CONFIG, "", "FANQD_PORT=", "FANQD_PORT takes a whole number");
    expect_error(CONFIG_EXIT_CONFIG, "--message-bytes-max 9M", "", "--frame-bytes-max at least 4k above");
    expect_error(CONFIG_EXIT_CONFIG, "--listen none", "", "give --unix PATH too");
    expect_error(CONFIG_EXIT_USAGE, "--a-flag-that-is-longer-than-any-flag-that-there-could-ever-be", "",
                 "unknown flag");
}

static void values_are_checked_to_the_last_letter(void **state)
{
    uint64_t v = 5;

    (void)state;
    assert_true(config_parse_bytes("64k", &v) && v == 65536);
    assert_true(config_parse_bytes("1GiB", &v) && v == UINT64_C(1) << 30);
    assert_true(config_parse_bytes("18446744073709551615", &v) && v == UINT64_MAX);
    assert_true(config_parse_ms("3d", &v) && v == 3 * 86400 * 1000);
    assert_true(config_parse_ms("250", &v) && v == 250);
    v = 5;
    assert_false(config_parse_bytes("18446744073709551616", &v));
    assert_false(config_parse_bytes("18014398509481984k", &v));
    assert_false(config_parse_bytes("-1", &v));
    assert_false(config_parse_bytes(" 1", &v));
    assert_false(config_parse_bytes("1 k", &v));
    assert_false(config_parse_bytes("k", &v));
    assert_false(config_parse_bytes("", &v));
    assert_false(config_parse_ms("1M1", &v));
    assert_int_equal(v, 5);
}

static void listen_addresses_have_all_their_forms(void **state)
{
    struct config_listen l;

    (void)state;
    assert_true(config_parse_listen("127.0.0.1", &l) && l.port == -1);
    assert_true(config_parse_listen("localhost:80", &l) && l.port == 80);
    assert_string_equal(l.host, "localhost");
    assert_true(config_parse_listen("fe80::1", &l) && l.port == -1);
    assert_string_equal(l.host, "fe80::1");
    assert_true(config_parse_listen("[::1]", &l) && l.port == -1);
    assert_true(config_parse_listen("[::1]:0", &l) && l.port == 0);
    assert_string_equal(l.host, "::1");
    assert_false(config_parse_listen("", &l));
    assert_false(config_parse_listen("[::1", &l));
    assert_false(config_parse_listen("[::1]x", &l));
    assert_false(config_parse_listen("a:", &l));
    assert_false(config_parse_listen("a:65536", &l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_loopback_and_memory),
        cmocka_unit_test(what_kubernetes_says_of_a_service_is_not_for_us),
        cmocka_unit_test(flags_win_over_environment),
        cmocka_unit_test(words_are_understood),
        cmocka_unit_test(the_cache_is_a_part_of_the_memory),
        cmocka_unit_test(switches_can_be_off_in_the_environment),
        cmocka_unit_test(errors_say_what_to_type),
        cmocka_unit_test(values_are_checked_to_the_last_letter),
        cmocka_unit_test(listen_addresses_have_all_their_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
