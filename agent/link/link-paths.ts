import { MAX_FRAME_PAYLOAD } from '../../shared/protocol/frame.js';

/** Paths of the peer link on the port that the HTTP API shares. */
export const CONTROL_PATH = '/v1/link/control';
export const PAGES_PATH = '/v1/link/pages';

/**
 * Largest WebSocket message on a control connection: twice what a control message may have, so that one which is
 * too long gets the protocol's own answer; beyond it the library refuses before it allocates.
 */
export const MAX_CONTROL_PAYLOAD = 128 * 1024;

/** Largest WebSocket frame on a page connection: one payload of a page frame. */
export const MAX_PAGES_PAYLOAD = MAX_FRAME_PAYLOAD;

/** Page streams over plain TCP, which the target opens at the source: the path, and the protocol in 'Upgrade'. */
export const PAGE_STREAM_PATH = '/v1/link/page-stream';
export const PAGE_STREAM_PROTOCOL = 'vmferry-pages';

/** The feature of a hello by which both say that they can do that. */
export const TCP_PAGES_FEATURE = 'tcp-pages';

/** The finding by which a target says that it could not. */
export const PAGES_BY_WEBSOCKET = 'pages-by-websocket';
