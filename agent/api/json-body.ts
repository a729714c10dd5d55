import type { FastifyInstance } from 'fastify';
import { MigrationError } from '../../shared/errors.js';

/** Nesting in the JSON of a request; no request of the API needs more than 6. */
export const MAX_JSON_DEPTH = 16;

/** Values in the JSON of a request: bounds what 22 MB of '[]' would become as objects. The largest definition has some hundreds. */
export const MAX_JSON_VALUES = 10_000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Takes JSON whose depth and number of values are checked before a single object is made of it. */
export function parseJsonBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    try {
      checkShape(body);
    } catch (error) {
      done(error as MigrationError);
      return;
    }
    // Fastify types what it does with its own result as a promise; it calls back.
    void parse(request, body.toString('utf8'), done);
  });
}

/** Throws invalid-request for JSON that is nested too deep or has too many values; what else is wrong is left to the parser. */
export function checkShape(json: Uint8Array): void {
  let depth = 0;
  let values = 1;
  let quoted = false;
  for (let i = 0; i < json.length; i += 1) {
    const byte = json[i]!;
    if (quoted) {
      if (byte === BACKSLASH) i += 1;
      else if (byte === QUOTE) quoted = false;
      continue;
    }
    switch (byte) {
      case QUOTE:
        quoted = true;
        break;
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        values += 1;
        if (depth > MAX_JSON_DEPTH) throw tooMuch(`is nested more than ${MAX_JSON_DEPTH} deep`);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
      case 0x2c: // ,
        values += 1;
        break;
    }
    if (values > MAX_JSON_VALUES) throw tooMuch(`has more than ${MAX_JSON_VALUES} values`);
  }
}

function tooMuch(what: string): MigrationError {
  return new MigrationError('invalid-request', `the JSON of the request ${what}, the limit`);
}
