import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import {
  AccessReportSchema,
  ClusterQuerySchema,
  ClusterReportSchema,
  DrainSchema,
  HealthReportSchema,
  NodeInfoSchema,
  QueueEntrySchema,
  ReadinessReportSchema,
  StatusReportSchema,
} from '../../../shared/api.js';
import { DoctorReportSchema, PeerReportsSchema } from '../../../shared/api/doctor.js';
import * as examples from './examples.js';
import { json, jsonBody, operation } from './operation.js';

/** What the agent is and what goes on at it. */
export const nodePaths: ZodOpenApiPathsObject = {
  '/v1/node': {
    get: operation({
      operationId: 'getNode',
      tag: 'node',
      summary: 'The node, its agent and its peers',
      role: 'read',
      answers: { '200': json(NodeInfoSchema, 'The node.', examples.node) },
    }),
  },
  '/v1/access': {
    get: operation({
      operationId: 'getAccess',
      tag: 'node',
      summary: 'Who the agent takes the caller for',
      role: 'read',
      answers: {
        '200': json(AccessReportSchema, 'The caller.', { role: 'operate', holder: 'alice' }),
      },
    }),
  },
  '/v1/status': {
    get: operation({
      operationId: 'getStatus',
      tag: 'node',
      summary: 'The node, its VMs, its migrations',
      role: 'read',
      answers: {
        '200': json(StatusReportSchema, 'All of it at one moment.', {
          node: examples.node,
          guests: [examples.guest],
          migrations: [examples.queuedMigration],
        }),
      },
    }),
  },
  '/v1/doctor': {
    get: operation({
      operationId: 'getDoctor',
      tag: 'node',
      summary: 'How fit the node is for VMs and migrations, with a remedy for each finding',
      role: 'read',
      answers: {
        '200': json(DoctorReportSchema, 'The findings.', examples.doctor),
      },
    }),
  },
  '/v1/doctor/peers': {
    get: operation({
      operationId: 'getDoctorOfPeers',
      tag: 'node',
      summary: 'How each of the other nodes can be reached from this one, as migrations reach them',
      description: 'It asks all of them just now. One that can not be reached has an error in its entry.',
      role: 'read',
      answers: { '200': json(PeerReportsSchema, 'The peers.', examples.peers) },
    }),
  },
  '/v1/queue': {
    get: operation({
      operationId: 'getQueue',
      tag: 'node',
      summary: 'Migrations that hold the node or wait for it, in order',
      role: 'read',
      answers: { '200': json(z.array(QueueEntrySchema), 'The queue.', [examples.queueEntry]) },
    }),
  },
  '/v1/cluster': {
    get: operation({
      operationId: 'getCluster',
      tag: 'node',
      summary: 'All nodes that the agent knows, as each tells of itself, and their queues as one',
      description: 'A node that does not answer has an error in its entry.',
      role: 'read',
      query: ClusterQuerySchema,
      answers: { '200': json(ClusterReportSchema, 'The cluster.', examples.cluster) },
    }),
  },
  '/v1/drained': {
    put: operation({
      operationId: 'setDrained',
      tag: 'node',
      summary: 'Whether VMs may come to the node, from now on and over restarts',
      description: 'VMs that are there stay, and migrations towards it that run already are finished.',
      role: 'operate',
      body: jsonBody(DrainSchema, { drained: true }),
      answers: { '200': json(NodeInfoSchema, 'The node.', { ...examples.node, drained: true }) },
      fails: ['invalid-request'],
    }),
  },
  '/v1/openapi.json': {
    get: operation({
      operationId: 'getOpenApi',
      tag: 'node',
      summary: 'This document',
      role: 'read',
      answers: {
        '200': {
          description: 'OpenAPI 3.1.',
          content: { 'application/json': { schema: { type: 'object' } } },
        },
      },
    }),
  },
};

/** What programs that watch agents ask. */
export const monitoringPaths: ZodOpenApiPathsObject = {
  '/metrics': {
    get: operation({
      operationId: 'getMetrics',
      tag: 'monitoring',
      summary: 'What is counted and measured, for Prometheus',
      role: 'read',
      answers: {
        '200': {
          description: "Prometheus' text format, 0.0.4.",
          content: { 'text/plain': { schema: { type: 'string' }, example: 'vmferry_ready 1\n' } },
        },
      },
    }),
  },
  '/healthz': {
    get: operation({
      operationId: 'getHealth',
      tag: 'monitoring',
      summary: 'Whether the agent lives',
      role: null,
      answers: { '200': json(HealthReportSchema, 'It does.', { status: 'ok' }) },
    }),
  },
  '/readyz': {
    get: operation({
      operationId: 'getReadiness',
      tag: 'monitoring',
      summary: 'Whether the node can take part in migrations now',
      role: null,
      answers: {
        '200': json(ReadinessReportSchema, 'It can.', { ready: true, failing: [], remarks: [] }),
        '503': json(ReadinessReportSchema, "It can't.", {
          ready: false,
          failing: ['journal'],
          remarks: ['drained'],
        }),
      },
    }),
  },
};
