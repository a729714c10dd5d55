import type { FastifyInstance } from 'fastify';
import { dashboardFiles } from './dashboard-files.js';

/** The page loads nothing but the agent's own files, talks to nobody but the agent, and stands in no other page. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // kept, but asked for each time whether it is the same still: an agent that was upgraded has a page of its own version
  'cache-control': 'no-cache',
};

/** The dashboard. Its files are for everybody who can connect, as they are the same everywhere; what it shows is asked for from /v1. */
export function dashboardRoutes(app: FastifyInstance): void {
  for (const [path, { type, content }] of dashboardFiles()) {
    app.get(path, { config: { withoutCredentials: true } }, async (request, reply) => {
      const { body, etag } = await content();
      reply.headers({ ...HEADERS, etag });
      if (knows(request.headers['if-none-match'], etag)) return reply.code(304).send();
      return reply.type(type).send(body);
    });
  }
}

/** Whether what a browser has kept is the same. */
function knows(header: string | undefined, etag: string): boolean {
  return header?.split(',').some((kept) => kept.trim().replace(/^W\//, '') === etag) ?? false;
}
