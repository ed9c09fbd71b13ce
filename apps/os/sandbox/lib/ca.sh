# shellcheck shell=sh
# Sourced: makes every tool trust the CA bundle given as a build secret or mounted at run time.
# It is never copied; without one nothing changes.
if [ -s /run/secrets/ca_bundle ] && [ -r /run/secrets/ca_bundle ]; then
  for _name in SSL_CERT_FILE CURL_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS PIP_CERT \
    REQUESTS_CA_BUNDLE NPM_CONFIG_CAFILE; do
    export "$_name=/run/secrets/ca_bundle"
  done
  unset _name
fi
