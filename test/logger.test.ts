import t from 'tap';
import { createLogger } from '../agent/logger.js';

void t.test('a secret that gets into a line by mistake is not told', (t) => {
  const lines: string[] = [];
  const logger = createLogger({ node: 'a', log: { level: 'trace' } }, { write: (line) => lines.push(line) });
  logger.trace({
    token: 'secret-1',
    tls: { key: 'secret-2', ca: 'told' },
    message: { prepare: { pageToken: 'secret-3' } },
    request: { raw: { headers: { authorization: 'secret-4' } } },
  });
  logger.child({ key: 'secret-5' }).error({ err: Object.assign(new Error('x'), { token: 'secret-6' }) }, 'y');
  t.equal(lines.length, 2);
  t.notMatch(lines.join(''), /secret-\d/);
  t.match(JSON.parse(lines[0]!), { node: 'a', token: '[secret]', tls: { ca: 'told' } });
  t.end();
});
