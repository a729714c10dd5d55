/** Codes of certificates that no CA that is trusted has issued. */
const UNKNOWN_ISSUER = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
  'UNABLE_TO_GET_ISSUER_CERT',
];

/** What TLS fails with, by the code of the error, in words with a remedy. */
const REASONS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    UNKNOWN_ISSUER.map((code) => [
      code,
      "its certificate was not issued by this cluster's CA: give both sides certificates of one CA",
    ]),
  ),
  CERT_HAS_EXPIRED: 'its certificate has expired: renew it',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: set the clocks of both hosts',
  INVALID_PURPOSE: 'its certificate is not made for this side of a connection: give it one of a node',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate does not name the host that the address names: use a name that is in it, or make it anew',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS there: the address of one without begins with http://',
  ERR_SSL_PACKET_LENGTH_TOO_LONG:
    'it does not speak TLS there: the address of one without begins with http://',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it refuses the version of TLS: 1.3 is needed',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it speaks an older version of TLS: 1.3 is needed',
  ERR_SSL_NO_SUITABLE_KEY_SHARE: 'no key exchange is known to both: update the older side',
  ERR_SSL_HTTP_REQUEST:
    'it speaks plain HTTP to a port with TLS: write https:// in its address of this agent',
};

/** Words for an error of TLS; undefined for any other. */
export function tlsReason(error: unknown): string | undefined {
  const code = codeOf(error);
  return code !== undefined && Object.hasOwn(REASONS, code) ? REASONS[code] : undefined;
}

/** Whether TLS failed for a certificate whose issuer is not trusted. */
export function isUnknownIssuer(error: unknown): boolean {
  return UNKNOWN_ISSUER.includes(codeOf(error) ?? '');
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
