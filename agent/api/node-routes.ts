import type { FastifyInstance } from 'fastify';
import {
  type AccessReport,
  ClusterQuerySchema,
  type ClusterReport,
  DrainSchema,
  type NodeInfo,
  type QueueEntry,
  type StatusReport,
} from '../../shared/api.js';
import type { DoctorReport, PeerReports } from '../../shared/api/doctor.js';
import { validate } from '../../shared/validate.js';
import { answer } from './answer.js';
import type { AgentService } from './service.js';

/** What the agent is and what goes on at it. */
export function nodeRoutes(app: FastifyInstance, service: AgentService): void {
  app.get('/node', (_request, reply) => answer<NodeInfo>(reply, service.node()));
  app.get('/access', (request, reply) => answer<AccessReport>(reply, request.caller));
  app.get('/status', (_request, reply) => answer<StatusReport>(reply, service.status()));
  app.get('/doctor', async (): Promise<DoctorReport> => await service.doctor());
  app.get('/doctor/peers', async (): Promise<PeerReports> => await service.doctorPeers());
  app.get('/cluster', async (request): Promise<ClusterReport> => {
    const { fresh } = validate(ClusterQuerySchema, request.query, 'invalid-request', 'the query');
    return await service.cluster(fresh === 'true');
  });
  app.put('/drained', async (request): Promise<NodeInfo> => {
    const { drained } = validate(DrainSchema, request.body, 'invalid-request', 'the request');
    return await service.setDrained(drained);
  });
  app.get('/queue', (_request, reply) => answer<QueueEntry[]>(reply, service.queue()));
}
