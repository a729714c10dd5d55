import { createDocument, type createDocument as Create } from 'zod-openapi';
import { ConsoleEndSchema, ErrorAnswerSchema, MigrationEventSchema } from '../../../shared/api.js';
import { ERROR_CODES } from '../../../shared/errors.js';
import { VERSION } from '../../../shared/version.js';
import { guestPaths } from './guest-operations.js';
import { migrationPaths } from './migration-operations.js';
import { monitoringPaths, nodePaths } from './node-operations.js';
import { errorExample, json } from './operation.js';

const DESCRIPTION = `The HTTP API of a vmferry agent.

An agent tells and does what concerns its own node; a migration is asked for at the agent of its source. Requests and answers are JSON.
A client is to ignore fields of answers that it does not know: later agents have more. Every failure is an \`ErrorAnswer\` with a code
of the table of \`Failure\`; the same request may succeed later where \`retryable\` is true. HEAD is answered where GET is.`;

/** Each code with what a client needs to know of it. */
const ERROR_TABLE = [
  '| code | status | retryable | means |',
  '| --- | --- | --- | --- |',
  ...Object.entries(ERROR_CODES).map(
    ([code, { status, retryable, means }]) =>
      `| \`${code}\` | ${status} | ${retryable ? 'yes' : 'no'} | ${means} |`,
  ),
].join('\n');

/** The OpenAPI document of the API: made of the schemas that check its requests and that the types of its answers come from. */
export function openApiDocument(): ReturnType<typeof Create> {
  return createDocument(
    {
      openapi: '3.1.0',
      info: {
        title: 'vmferry',
        version: VERSION,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/', description: 'The agent that serves this document.' }],
      tags: [
        { name: 'node', description: 'What the agent is and what goes on at it.' },
        { name: 'VMs', description: 'Definition, life, console.' },
        { name: 'migrations', description: 'From this node to others.' },
        { name: 'monitoring', description: 'For Prometheus, load balancers and supervisors.' },
      ],
      paths: { ...nodePaths, ...guestPaths, ...migrationPaths, ...monitoringPaths },
      components: {
        // Event streams alone refer to them.
        schemas: { ConsoleEnd: ConsoleEndSchema, MigrationEvent: MigrationEventSchema },
        securitySchemes: {
          mutualTls: {
            // Of OpenAPI 3.1; the library's types know those of 3.0 alone.
            type: 'mutualTLS' as 'http',
            description:
              "Over TLS a caller has a certificate of the cluster's CA. To an address beyond the host it needs a token as well.",
          },
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description:
              "A token of the agent's file of tokens, which says its role: `read` to look, `operate` for the rest. An agent without that " +
              "file asks none of its own host's callers (loopback, unix socket), and serves no others.",
          },
        },
        responses: {
          Failure: json(
            ErrorAnswerSchema,
            `Any other failure.\n\n${ERROR_TABLE}`,
            errorExample('shutting-down'),
          ),
        },
      },
    },
    {
      override: ({ jsonSchema, zodSchema, io }) => {
        // What zod says of integers for JavaScript's sake alone.
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
        // Later agents may tell more.
        const { def } = zodSchema._zod;
        if (io === 'output' && def.type === 'object' && !('catchall' in def && def.catchall))
          delete jsonSchema.additionalProperties;
      },
    },
  );
}
