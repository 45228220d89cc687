{% autoescape off %}// Keeps the card for times without a network: pages as they were last seen, and what they are drawn with.
const STATICS = "card-static-{{ version }}";
const PAGES = "card-pages";
const KEPT = {{ kept }};
const OPENED = {{ pages }};
const OFFLINE = "{{ offline }}";
const ENTRANCE = "{{ entrance }}";
const SIGN_OUT = "{{ sign_out }}";
const ME = "{{ me }}";
const MOST = 40;
const OLD_AFTER = 10 * 60 * 1000;
const ASKS = 4000;

addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(STATICS);
    await cache.addAll([...KEPT, OFFLINE]);
    await skipWaiting();
  })());
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((n) => n.startsWith("card-static-") && n !== STATICS).map((n) => caches.delete(n)));
    await clients.claim();
  })());
});

addEventListener("message", (event) => {
  if (event.data === "keep") event.waitUntil(Promise.all(OPENED.map(keep)));
  if (event.data === "forget") event.waitUntil(caches.delete(PAGES));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (origin !== location.origin) return;
  if (request.method !== "GET") {
    if (pathname === SIGN_OUT) event.waitUntil(caches.delete(PAGES));
    return;
  }
  if (request.mode === "navigate") event.respondWith(page(request, pathname, event));
  else if (/^\/(static|brand|card\/icons)\//.test(pathname)) event.respondWith(drawn(request));
});

function isKept(pathname) {
  return OPENED.includes(pathname) || pathname.startsWith(OPENED[1]);
}

async function drawn(request) {
  const known = await caches.match(request);
  if (known) return known;
  const fresh = await fetch(request);
  if (fresh.ok) (await caches.open(STATICS)).put(request, fresh.clone());
  return fresh;
}

async function page(request, pathname, event) {
  if (!isKept(pathname) && pathname !== ME) {
    return fetch(request).catch(async () => (await caches.match(OFFLINE)) ?? Response.error());
  }
  try {
    const fresh = await inTime(fetch(request));
    // Sent to sign in: the card is closed here, and no copy of it may stay.
    if (fresh.type === "opaqueredirect" || fresh.redirected) event.waitUntil(caches.delete(PAGES));
    else if (fresh.ok && isKept(pathname)) event.waitUntil(store(request.url, fresh.clone()));
    return fresh;
  } catch {
    return old(request);
  }
}

// A network that takes longer than this is as good as none, if there is a copy.
function inTime(answer) {
  return Promise.race([answer, new Promise((_, fail) => setTimeout(fail, ASKS))]);
}

async function old(request) {
  const known = await (await caches.open(PAGES)).match(request.url);
  if (!known) return fetch(request).catch(async () => (await caches.match(OFFLINE)) ?? Response.error());
  const text = await known.text();
  return new Response(text.replace("<html ", "<html data-offline "), { headers: known.headers });
}

async function keep(path) {
  const cache = await caches.open(PAGES);
  const known = await cache.match(path);
  if (known && Date.now() - Date.parse(known.headers.get("date")) < OLD_AFTER) return;
  try {
    const fresh = await fetch(path, { redirect: "manual", headers: { accept: "text/html" } });
    if (fresh.ok) await store(new URL(path, location.origin).href, fresh);
  } catch { /* the next time */ }
}

async function store(url, fresh) {
  const cache = await caches.open(PAGES);
  await cache.put(url, fresh);
  const urls = (await cache.keys()).map((one) => one.url);
  const more = urls.filter((one) => !OPENED.includes(new URL(one).pathname));
  await Promise.all(more.slice(0, Math.max(0, urls.length - MOST)).map((one) => cache.delete(one)));
}
{% endautoescape %}
