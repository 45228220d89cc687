/* Keeps the till's page for times without network. `KEPT` is written above by the server. */

const CACHE = "till-1";
const WAIT = 4000;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(kept([KEPT.page, ...KEPT.shell]));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("till-") && name !== CACHE;
  const cleared = caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))));
  event.waitUntil(cleared.then(() => self.clients.claim()));
});

/* The page names what it was made of, so that all of it is here when the network is not. */
self.addEventListener("message", (event) => event.waitUntil(kept(event.data.filter(isOurs))));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  const isPage = request.mode === "navigate" && url.pathname === KEPT.page;
  if (isPage || (request.mode !== "navigate" && isOurs(request.url))) event.respondWith(fresh(request));
});

function isOurs(address) {
  const { origin, pathname } = new URL(address);
  return origin === location.origin && KEPT.parts.some((part) => pathname.startsWith(part));
}

/** From the network as long as it answers, else as it was kept. */
async function fresh(request) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(WAIT) });
    if (isGood(answer)) await cache.put(request.url, answer.clone());
    return answer;
  } catch (error) {
    const found = await cache.match(request.url);
    if (found) return found;
    throw error;
  }
}

async function kept(addresses) {
  const cache = await caches.open(CACHE);
  const keep = async (address) => {
    const answer = await fetch(address);
    if (isGood(answer)) await cache.put(new URL(address, location.origin).href, answer);
  };
  await Promise.allSettled(addresses.map(keep));
}

/* A till that is locked is sent elsewhere: that is not its page. */
function isGood(answer) {
  return answer.status === 200 && !answer.redirected && answer.type === "basic";
}
