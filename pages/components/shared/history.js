// Streamlit adds an entry to the browser's history for every parameter that a page writes to its address. Going back
// is meant for pages: a change of parameters alone takes the place of the entry that is there.
(() => {
  if (window.parametersReplace) return;
  window.parametersReplace = true;
  const push = history.pushState;
  history.pushState = function (state, title, url) {
    const samePage = new URL(url ?? location.href, location.href).pathname === location.pathname;
    return (samePage ? history.replaceState : push).call(history, state, title, url);
  };
})();
