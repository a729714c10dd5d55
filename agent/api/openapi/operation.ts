import type { z } from 'zod';
import type {
  ZodOpenApiOperationObject,
  ZodOpenApiRequestBodyObject,
  ZodOpenApiResponseObject,
} from 'zod-openapi';
import type { Role } from '../../../shared/api-tokens.js';
import { ErrorAnswerSchema } from '../../../shared/api.js';
import { ERROR_CODES, type ErrorCode } from '../../../shared/errors.js';

/** What is said of one route. */
interface OperationDescription {
  /** Unique in the document: names of generated clients' methods come from it. */
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** Null: served to callers who prove nothing. */
  readonly role: Role | null;
  readonly path?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly header?: z.ZodObject;
  readonly body?: ZodOpenApiRequestBodyObject;
  /** Answers where all is well, by status. */
  readonly answers: Readonly<Record<`${number}`, ZodOpenApiResponseObject>>;
  /** Codes that a caller has to expect beside those that any request can meet. */
  readonly fails?: readonly ErrorCode[];
}

/** The operation of a route: what all have in common is added. */
export function operation(described: OperationDescription): ZodOpenApiOperationObject {
  const { operationId, tag, summary, description, role, path, query, header, body, answers } = described;
  const refusals: ErrorCode[] =
    role === null ? [] : role === 'read' ? ['unauthenticated'] : ['unauthenticated', 'not-allowed'];
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security: role === null ? [] : securityOf(role),
    ...((path ?? query ?? header) && {
      requestParams: { ...(path && { path }), ...(query && { query }), ...(header && { header }) },
    }),
    ...(body && { requestBody: body }),
    responses: {
      ...answers,
      ...failures([...refusals, ...(described.fails ?? [])]),
      default: { $ref: '#/components/responses/Failure' },
    },
  };
}

/** A body or an answer of JSON. */
export function json(schema: z.ZodType, description: string, example?: unknown) {
  const content = { 'application/json': { schema, ...(example !== undefined && { example }) } };
  return { description, content };
}

/** The body of a request, without which it is refused. */
export function jsonBody(schema: z.ZodType, example: unknown): ZodOpenApiRequestBodyObject {
  return { required: true, content: { 'application/json': { schema, example } } };
}

/** Each way in that proves enough for the role, as OPERATIONS.md tells them. */
function securityOf(role: Role) {
  return [{ mutualTls: [], bearer: [role] }, { bearer: [role] }, {}];
}

/** Answers of failures: a status has all of its codes. */
function failures(codes: readonly ErrorCode[]): Record<`${4 | 5}${string}`, ZodOpenApiResponseObject> {
  const statuses = new Set(codes.map((code) => ERROR_CODES[code].status));
  const entries = [...statuses].map((status) => {
    const those = codes.filter((code) => ERROR_CODES[code].status === status);
    const words = those.map((code) => `\`${code}\`: ${ERROR_CODES[code].means}.`).join('\n');
    return [String(status), json(ErrorAnswerSchema, words, errorExample(those[0]!))] as const;
  });
  return Object.fromEntries(entries);
}

/** An error answer with the code. */
export function errorExample(code: ErrorCode) {
  const { means, retryable } = ERROR_CODES[code];
  return { error: { code, message: means, retryable } };
}
