import type { AgentConfig } from '../../shared/config.js';
import { VERSION } from '../../shared/version.js';
import type { HeartbeatOptions } from './heartbeat.js';
import { TCP_PAGES_FEATURE } from './link-paths.js';

/** What an agent says of itself on each link, whoever dials, and how it finds out that one is dead. */
export interface LinkSettings {
  /** Id of this node. */
  readonly node: string;
  /** This agent's name and version, told to peers. */
  readonly agent: string;
  /** What this side offers beyond the protocol's version. */
  readonly features: readonly string[];
  readonly heartbeat: HeartbeatOptions;
}

export function linkSettings({ node, link }: Pick<AgentConfig, 'node' | 'link'>): LinkSettings {
  const { heartbeat: intervalMs, silence: timeoutMs } = link;
  return {
    node,
    agent: `vmferry ${VERSION}`,
    features: link.pages === 'auto' ? [TCP_PAGES_FEATURE] : [],
    heartbeat: {
      ...(intervalMs !== undefined && { intervalMs }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    },
  };
}
