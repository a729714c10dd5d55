import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { ErrorAnswer } from '../../shared/api.js';
import { ERROR_CODES, MigrationError, toMigrationError } from '../../shared/errors.js';
import type { ApiLimits } from './limits.js';

/** What clients are told of a defect: the details are in the agent's log. */
const INTERNAL_MESSAGE =
  "the agent failed on this request: a defect of vmferry; the agent's log has the details";

/** Words for the refusals of the HTTP layer that a client can do something about, by fastify's code. */
const HTTP_REFUSALS = new Map([
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', 'the body of the request has a wrong type: send application/json'],
  ['FST_ERR_CTP_EMPTY_JSON_BODY', 'the body of the request is empty: send JSON, or no content-type'],
  ['FST_ERR_CTP_BODY_TOO_LARGE', 'the body of the request is too large'],
  ['FST_ERR_CTP_INVALID_JSON_BODY', 'the body of the request is not valid JSON'],
]);

/** The HTTP answer to anything thrown while a request was handled. */
export function errorAnswer(thrown: unknown): { status: number; answer: ErrorAnswer } {
  if (thrown instanceof MigrationError) {
    const { code, field } = thrown;
    return {
      status: ERROR_CODES[code].status,
      answer: { error: { ...thrown.toJSON(), ...(field && { field }) } },
    };
  }
  const { statusCode, code, message } = thrown as Partial<FastifyError>;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    const words =
      HTTP_REFUSALS.get(code ?? '') ?? `the request is not valid: ${message ?? 'no reason given'}`;
    // the HTTP status says more than the code's own: 413, 415, ...
    return { status: statusCode, answer: { error: new MigrationError('invalid-request', words).toJSON() } };
  }
  const internal = new MigrationError('internal', INTERNAL_MESSAGE);
  return { status: ERROR_CODES.internal.status, answer: { error: internal.toJSON() } };
}

/** Logs the failure and answers it. A failed action is an error in the log, a failed look is not. */
export async function answerError(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  if (isGone(thrown, request)) {
    request.log.debug(
      { method: request.method, url: request.url },
      'the client went away within its request',
    );
    // Nobody reads it; fastify is to know that the request is done with.
    reply.hijack();
    return;
  }
  const { status, answer } = errorAnswer(thrown);
  const fields = { method: request.method, url: request.url, code: answer.error.code, status };
  if (answer.error.code === 'shutting-down') {
    request.log.info(fields, answer.error.message);
  } else if (status >= 500) {
    request.log.error({ ...fields, err: toMigrationError(thrown) }, answer.error.message);
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    request.log.error(fields, answer.error.message);
  } else {
    request.log.debug(fields, answer.error.message);
  }
  await reply.status(status).send(answer);
}

/** Whether nothing failed but the connection, before all of the request was there. */
function isGone(thrown: unknown, { raw }: FastifyRequest): boolean {
  return (thrown as NodeJS.ErrnoException).code === 'ECONNRESET' && raw.destroyed && !raw.complete;
}

/** The answer to bytes that are no HTTP request, written on the bare socket. */
export function rawErrorResponse(code: string | undefined, limits: ApiLimits): string {
  const seconds = (ms: number) => `${ms / 1000} s`;
  const [status, phrase, words] =
    code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? [
          408,
          'Request Timeout',
          `the request took too long to arrive: ${seconds(limits.headersTimeoutMs)} for its headers and ` +
            `${seconds(limits.requestTimeoutMs)} in all are the limits`,
        ]
      : code === 'HPE_HEADER_OVERFLOW'
        ? [
            431,
            'Request Header Fields Too Large',
            `the headers of the request are too large: ${limits.headerBytes} bytes, the URL included, are the limit`,
          ]
        : [400, 'Bad Request', 'this is no valid HTTP request'];
  const answer: ErrorAnswer = { error: new MigrationError('invalid-request', words).toJSON() };
  const body = JSON.stringify(answer);
  return [
    `HTTP/1.1 ${status} ${phrase}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
