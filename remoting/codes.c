/* codes.c - names of request and response codes, from the tables in codes.h.
 * Threads: any; no state. */
#include "remoting/codes.h"

#include <stddef.h>

const char *request_code_name(int code)
{
    switch (code) {
#define REQUEST_CODE_CASE(name, number) \
    case number:                        \
        return #name;
        REQUEST_CODE_TABLE(REQUEST_CODE_CASE)
#undef REQUEST_CODE_CASE
    default:
        return NULL;
    }
}

const char *response_code_name(int code)
{
    switch (code) {
#define RESPONSE_CODE_CASE(name, number) \
    case number:                         \
        return #name;
        RESPONSE_CODE_TABLE(RESPONSE_CODE_CASE)
#undef RESPONSE_CODE_CASE
    default:
        return NULL;
    }
}
