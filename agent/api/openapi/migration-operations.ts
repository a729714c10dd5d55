import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import {
  ChangeMigrationSchema,
  ErrorBodySchema,
  HistoryEntrySchema,
  LinkTestResultSchema,
  LinkTestSchema,
  MigrationEventSchema,
  MigrationInfoSchema,
  PreflightReportSchema,
  StartMigrationSchema,
} from '../../../shared/api.js';
import type { ErrorCode } from '../../../shared/errors.js';
import { LastEventIdSchema, MigrationPathSchema } from '../request-fields.js';
import { eventStream } from './event-stream-answer.js';
import * as examples from './examples.js';
import { json, jsonBody, operation } from './operation.js';

const tag = 'migrations';
const path = MigrationPathSchema;

const request = { vm: 'web', to: 'b', options: { maxDowntimeMs: 50, verify: 'after' }, priority: 1 };

/** Why preflight of either node refuses a migration. */
const REFUSALS: readonly ErrorCode[] = [
  'target-has-guest',
  'target-out-of-memory',
  'unsupported-guest',
  'unsupported-option',
  'preflight-refused',
  'refused-by-policy',
  'node-drained',
];

/** How asking the other node something fails. */
const CONVERSATION_FAILURES: readonly ErrorCode[] = [
  'peer-unreachable',
  'peer-untrusted',
  'wrong-node',
  'version-unsupported',
  'link-lost',
  'bad-message',
  'unexpected-message',
  'peer-failed',
  'timeout',
  'shutting-down',
];

/** Migrations from the node: preflight, start, look, follow, limit, cancel; and tests of the link. */
export const migrationPaths: ZodOpenApiPathsObject = {
  '/v1/migrations': {
    get: operation({
      operationId: 'listMigrations',
      tag,
      summary: 'Migrations that run or wait, and those that ended lately, the latest first',
      role: 'read',
      answers: { '200': json(z.array(MigrationInfoSchema), 'The migrations.', [examples.endedMigration]) },
    }),
    post: operation({
      operationId: 'startMigration',
      tag,
      summary: 'Ask for a migration from this node',
      description:
        'It is answered once both nodes have nothing against it: follow its events, or look at it, until its phase is `ended`. What goes ' +
        'wrong from then on is in its result: `pair-busy` among it, where `wait` is false.',
      role: 'operate',
      body: jsonBody(StartMigrationSchema, request),
      answers: { '202': json(MigrationInfoSchema, 'It waits for its turn.', examples.queuedMigration) },
      fails: [
        'invalid-request',
        'unknown-node',
        'same-node',
        'not-found',
        'wrong-state',
        'duplicate-migration',
        'limit-exceeded',
        'guest-failed',
        ...REFUSALS,
        ...CONVERSATION_FAILURES,
      ],
    }),
  },
  '/v1/migrations/{id}': {
    get: operation({
      operationId: 'getMigration',
      tag,
      summary: 'One migration, also of one that ended long ago',
      role: 'read',
      path,
      answers: { '200': json(MigrationInfoSchema, 'The migration.', examples.endedMigration) },
      fails: ['invalid-request', 'not-found'],
    }),
    patch: operation({
      operationId: 'limitMigration',
      tag,
      summary: 'Let a migration that waits or runs send faster or slower',
      role: 'operate',
      path,
      body: jsonBody(ChangeMigrationSchema, { bandwidthBytesPerSecond: 125_000_000 }),
      answers: { '200': json(MigrationInfoSchema, 'The migration.', examples.queuedMigration) },
      fails: ['invalid-request', 'not-found', 'wrong-state'],
    }),
  },
  '/v1/migrations/{id}/cancel': {
    post: operation({
      operationId: 'cancelMigration',
      tag,
      summary: 'Cancel a migration: the VM goes on at the source',
      description: 'It is answered once the cancel has taken effect.',
      role: 'operate',
      path,
      answers: { '200': json(MigrationInfoSchema, 'The migration.') },
      fails: ['invalid-request', 'not-found', 'wrong-state', 'too-late'],
    }),
  },
  '/v1/migrations/{id}/events': {
    get: operation({
      operationId: 'followMigration',
      tag,
      summary: 'What happens to a migration, from its beginning to its end',
      description:
        "An event stream; events that are past come first. The id of each event is its `seq`: with 'Last-Event-ID' a client that has " +
        'lost the stream goes on after it. It ends after `ended`.',
      role: 'read',
      path,
      header: LastEventIdSchema,
      answers: {
        '200': {
          description: 'The events.',
          content: eventStream(
            {
              ...Object.fromEntries(
                MigrationEventSchema.options.map(({ shape }) => [shape.event.value, MigrationEventSchema]),
              ),
              error: ErrorBodySchema,
            },
            { event: 'progress', id: examples.progressEvent.seq, data: examples.progressEvent },
          ),
        },
      },
      fails: ['invalid-request', 'not-found', 'limit-exceeded'],
    }),
  },
  '/v1/history': {
    get: operation({
      operationId: 'getHistory',
      tag,
      summary: 'Migrations from this node that have ended, the last one first',
      role: 'read',
      answers: { '200': json(z.array(HistoryEntrySchema), 'The history.', [examples.historyEntry]) },
    }),
  },
  '/v1/preflight': {
    post: operation({
      operationId: 'preflight',
      tag,
      summary: 'What speaks for and against a migration; changes nothing',
      description:
        'What would be refused is a finding, also where a node is not known or does not answer, or there is no such VM.',
      role: 'operate',
      body: jsonBody(StartMigrationSchema, request),
      answers: { '200': json(PreflightReportSchema, 'The findings of both nodes.', examples.preflight) },
      fails: ['invalid-request', 'limit-exceeded'],
    }),
  },
  '/v1/link-tests': {
    post: operation({
      operationId: 'testLink',
      tag,
      summary: 'Measure the link to another node, in its turn among the migrations',
      description: 'A client that goes away ends the test.',
      role: 'operate',
      body: jsonBody(LinkTestSchema, { to: 'b', bytes: 268_435_456, rounds: 4 }),
      answers: { '200': json(LinkTestResultSchema, 'What the link carries.') },
      fails: [
        'invalid-request',
        'unknown-node',
        'same-node',
        'target-out-of-memory',
        'unsupported-option',
        'limit-exceeded',
        'pair-busy',
        'lock-lost',
        ...CONVERSATION_FAILURES,
      ],
    }),
  },
};
