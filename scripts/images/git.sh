#!/bin/sh
# Serves Git repositories over HTTP, without a login, on port 3000: stands in for a forge. /var/lib/gitea/NAME.git is made by the first request
# for it, as a forge does that lets a push create its repository.
set -eu
mkdir -p /var/lib/gitea /tmp/www/cgi-bin
cat >/tmp/www/cgi-bin/git <<'END'
#!/bin/sh
name=$(echo "$PATH_INFO" | sed 's#^/\([a-z0-9.-]*\.git\).*#\1#')
case "$name" in *.git) [ -d "/var/lib/gitea/$name" ] || git init -q --bare -b main "/var/lib/gitea/$name" ;; esac
export GIT_PROJECT_ROOT=/var/lib/gitea GIT_HTTP_EXPORT_ALL=1
exec git -c http.receivepack=true -c safe.directory='*' http-backend
END
chmod 755 /tmp/www/cgi-bin/git
mkdir -p /tmp/www/api
echo ok >/tmp/www/api/healthz
exec httpd -f -p 3000 -h /tmp/www
