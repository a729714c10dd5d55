import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import {
  AdoptGuestSchema,
  ConsoleChunkSchema,
  ConsoleEndSchema,
  ConsoleInputSchema,
  ConsoleQuerySchema,
  DefineGuestSchema,
  ErrorBodySchema,
  GuestInfoSchema,
  OutcomeReportSchema,
  ResolutionSchema,
  ResolveSchema,
} from '../../../shared/api.js';
import type { ErrorCode } from '../../../shared/errors.js';
import { GuestPathSchema, LastEventIdSchema } from '../request-fields.js';
import { eventStream } from './event-stream-answer.js';
import * as examples from './examples.js';
import { json, jsonBody, operation } from './operation.js';

const tag = 'VMs';
const path = GuestPathSchema;

const chunk = { position: 0, end: 9, text: '| filled\n' };

/** A route that changes a VM's state. */
function change(operationId: string, summary: string, status: string, fails: readonly ErrorCode[] = []) {
  return {
    post: operation({
      operationId,
      tag,
      summary,
      role: 'operate',
      path,
      answers: { '200': json(GuestInfoSchema, `The VM, ${status}.`, examples.guest) },
      fails: ['invalid-request', 'not-found', 'wrong-state', 'guest-failed', ...fails],
    }),
  };
}

/** Guests: definition, life, console. */
export const guestPaths: ZodOpenApiPathsObject = {
  '/v1/guests': {
    get: operation({
      operationId: 'listGuests',
      tag,
      summary: 'All VMs of the node',
      role: 'read',
      answers: { '200': json(z.array(GuestInfoSchema), 'The VMs.', [examples.guest]) },
    }),
    post: operation({
      operationId: 'defineGuest',
      tag,
      summary: 'Define a VM, stopped',
      role: 'operate',
      body: jsonBody(DefineGuestSchema, { definition: examples.definition }),
      answers: {
        '201': json(GuestInfoSchema, 'The VM.', { ...examples.guest, status: 'stopped', writeLog: null }),
      },
      fails: ['invalid-definition', 'invalid-image', 'name-taken', 'limit-exceeded'],
    }),
  },
  '/v1/guests/{name}': {
    get: operation({
      operationId: 'getGuest',
      tag,
      summary: 'One VM',
      role: 'read',
      path,
      answers: { '200': json(GuestInfoSchema, 'The VM.', examples.guest) },
      fails: ['invalid-request', 'not-found'],
    }),
    delete: operation({
      operationId: 'undefineGuest',
      tag,
      summary: 'Forget a VM that is stopped',
      role: 'operate',
      path,
      answers: { '204': { description: 'It is no more.' } },
      fails: ['invalid-request', 'not-found', 'wrong-state'],
    }),
  },
  '/v1/guests/{name}/start': change('startGuest', 'Boot a VM', 'running', [
    'target-out-of-memory',
    'tracking-failed',
    'shutting-down',
  ]),
  '/v1/guests/{name}/stop': change('stopGuest', 'End the execution of a VM; its definition stays', 'stopped'),
  '/v1/guests/{name}/pause': change('pauseGuest', 'Halt a VM', 'paused'),
  '/v1/guests/{name}/resume': change('resumeGuest', 'Let a paused VM go on', 'running'),
  '/v1/guests/{name}/adopt': {
    post: operation({
      operationId: 'adoptGuest',
      tag,
      summary: 'Take over a running QEMU that somebody else started',
      role: 'operate',
      path,
      body: jsonBody(AdoptGuestSchema, { qmp: '/run/qemu/web.qmp' }),
      answers: { '201': json(GuestInfoSchema, 'The VM.') },
      fails: [
        'invalid-request',
        'name-taken',
        'limit-exceeded',
        'unsupported-guest',
        'target-out-of-memory',
        'guest-failed',
        'tracking-failed',
        'shutting-down',
      ],
    }),
  },
  '/v1/guests/{name}/outcome': {
    get: operation({
      operationId: 'getGuestOutcome',
      tag,
      summary: 'What is known of the outcome that a VM is held for, and what its operator can do',
      role: 'read',
      path,
      answers: { '200': json(OutcomeReportSchema, 'What is known.', { vm: 'web', open: null }) },
      fails: ['invalid-request', 'not-found'],
    }),
  },
  '/v1/guests/{name}/resolve': {
    post: operation({
      operationId: 'resolveGuest',
      tag,
      summary: "Settle whose a VM is whose migration's outcome is not known",
      role: 'operate',
      path,
      body: jsonBody(ResolveSchema, { owner: 'a' }),
      answers: {
        '200': json(ResolutionSchema, 'It is settled.', { vm: 'web', owner: 'a', guest: examples.guest }),
      },
      fails: ['invalid-request', 'not-found', 'wrong-state', 'outcome-unknown'],
    }),
  },
  '/v1/guests/{name}/console': {
    get: operation({
      operationId: 'readConsole',
      tag,
      summary: 'What a VM has printed, or goes on printing',
      description:
        'Without `follow` one piece of what is kept, from `position` on. With it an event stream: chunks as they are printed, then `end`. ' +
        "The id of each event is the position after its chunk: a client that has lost the stream goes on there with 'Last-Event-ID'.",
      role: 'read',
      path,
      query: ConsoleQuerySchema,
      header: LastEventIdSchema,
      answers: {
        '200': {
          description: 'The console.',
          content: {
            'application/json': { schema: ConsoleChunkSchema, example: chunk },
            ...eventStream(
              { chunk: ConsoleChunkSchema, end: ConsoleEndSchema, error: ErrorBodySchema },
              { event: 'chunk', id: 9, data: chunk },
            ),
          },
        },
      },
      fails: ['invalid-request', 'not-found', 'limit-exceeded'],
    }),
    post: operation({
      operationId: 'sendConsoleInput',
      tag,
      summary: "Type into a VM's console",
      role: 'operate',
      path,
      body: jsonBody(ConsoleInputSchema, { data: 'bHMK' }),
      answers: { '204': { description: 'It was passed on.' } },
      fails: ['invalid-request', 'not-found', 'wrong-state', 'limit-exceeded', 'guest-failed'],
    }),
  },
};
