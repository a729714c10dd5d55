import type { ErrorBody } from '../../shared/errors.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { expiryFinding } from '../../shared/tls/certificate-expiry.js';
import type { ExaminedNode } from './examination.js';

/** Codes with which an agent refuses to answer whoever asks. */
const NOT_LET_IN: ReadonlySet<string> = new Set(['unauthenticated', 'not-allowed']);

/** What is so of one node, by itself. `others`: what their agents saw of it. */
export function nodeFindings(
  node: ExaminedNode,
  others: readonly ExaminedNode[],
  asked: string,
): PreflightFinding[] {
  const { report, unsaid } = node;
  return [
    ...(node.error ? [notAsked(node, node.error, asked)] : []),
    ...unsaid.map((error) => partUnsaid(node, error)),
    ...(report?.findings ?? []),
    ...(report ? [] : shownCertificate(node, others)),
  ];
}

function notAsked({ node, errorOfPeer }: ExaminedNode, error: ErrorBody, asked: string): PreflightFinding {
  if (NOT_LET_IN.has(error.code)) {
    return {
      ...{ level: 'refusal', code: error.code },
      message: `the agent of node ${node} refuses to answer you: ${error.message}`,
      remedy: 'give all agents the same CA and the same file of tokens, and yourself a token that is in it',
    };
  }
  if (errorOfPeer) {
    return {
      ...{ level: 'refusal', code: 'node-unreachable' },
      message: `node ${node} answers neither you nor node ${asked}: ${errorOfPeer.message}`,
      remedy: `start its agent, or look at its host and the network to it; VMs that QEMU runs there go on by themselves`,
    };
  }
  return {
    ...{ level: 'warning', code: 'node-not-asked' },
    message: `node ${node} answers node ${asked}, and not you, so that it could not be checked: ${error.message}`,
    remedy:
      error.code === 'peer-untrusted'
        ? 'mend that; each agent is asked as you: --ca, --certificate, --key and --token-file must be good for all of them'
        : `run this where its address can be reached: on node ${asked}, perhaps`,
  };
}

function partUnsaid({ node }: ExaminedNode, error: ErrorBody): PreflightFinding {
  return {
    ...{ level: 'warning', code: 'not-checked' },
    message: `a part of the checks of node ${node} was not to be had: ${error.message}`,
    remedy:
      error.code === 'timeout'
        ? 'ask again; if that is always so, look at its load, and at whether long packets get from there to you'
        : 'if its agent is of another version than this command, update the older one',
  };
}

/** Of a node that could not be asked, its peers have seen the certificate. */
function shownCertificate({ node }: ExaminedNode, others: readonly ExaminedNode[]): PreflightFinding[] {
  const shown = others
    .flatMap(({ peers }) => peers ?? [])
    .find((peer) => peer.node === node && peer.certificateExpiresAt !== null);
  if (!shown?.certificateExpiresAt) return [];
  const whose = `the certificate that node ${node} shows`;
  const finding = expiryFinding(
    whose,
    new Date(shown.certificateExpiresAt),
    'renew it, and send the agent SIGHUP',
  );
  return finding.level === 'ok' ? [] : [finding];
}
