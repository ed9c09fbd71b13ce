# shellcheck shell=sh
# Sourced: makes every tool trust the CA bundle given as a build secret or mounted at run time,
# beside the usual certificates. It goes to memory only; without one nothing changes.
if [ -s /run/secrets/ca_bundle ] && [ -r /run/secrets/ca_bundle ]; then
  _all=/dev/shm/ca-bundle-$(id -u)
  if [ ! -s "$_all" ]; then
    cat /etc/ssl/certs/ca-certificates.crt /run/secrets/ca_bundle >"$_all.$$" &&
      mv "$_all.$$" "$_all"
  fi
  for _name in SSL_CERT_FILE CURL_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS PIP_CERT \
    REQUESTS_CA_BUNDLE NPM_CONFIG_CAFILE; do
    export "$_name=$_all"
  done
  unset _all _name
fi
