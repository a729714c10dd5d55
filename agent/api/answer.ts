import type { FastifyReply } from 'fastify';

/** Answers with `body`, whose type the caller states: what shared/api.ts promises for the route. */
export function answer<Body>(reply: FastifyReply, body: Body): FastifyReply {
  return reply.send(body);
}
