/* SPDX-License-Identifier: Apache-2.0 */
/* openssl - libcrypto's types without their clash with ours: <openssl/types.h> has a typedef
 * ERR_STATE. Include this before any other <openssl/...> header; <openssl/err.h> cannot be used
 * beside err.h. */
#ifndef COFFER_BASE_OPENSSL_H
#define COFFER_BASE_OPENSSL_H

#define ERR_STATE openssl_err_state
#include <openssl/types.h>
#undef ERR_STATE

#endif
