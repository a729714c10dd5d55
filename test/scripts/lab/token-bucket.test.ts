import t from 'tap';
import { tokenBucket } from '../../../scripts/lab/token-bucket.js';

void t.test('a rate becomes a token bucket, no rate removes it', (t) => {
  const replace = 'qdisc replace dev link0 root tbf';
  t.equal(
    tokenBucket('link0', 625e6).join(' '),
    `${replace} rate 5000000000bit burst 1250000b latency 50ms`,
    '2 ms of it',
  );
  t.equal(
    tokenBucket('link0', 1e6).join(' '),
    `${replace} rate 8000000bit burst 131072b latency 50ms`,
    'never less than two packets',
  );
  t.equal(tokenBucket('link0', null).join(' '), 'qdisc del dev link0 root');
  t.end();
});
