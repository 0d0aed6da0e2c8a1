# The readers of Python: what they connect to for each text of the list on
# standard input.
import http.client, json, socket, ssl, sys, urllib.parse, urllib.request

seen = None


class Socket(socket.socket):
    def connect(self, address):
        seen.append(address[0])
        return super().connect(address)


socket.socket = Socket
socket.setdefaulttimeout(2)
unverified = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())  # certificates are slow to load
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({}), unverified))


def first_address(text):
    for family, kind, proto, _, address in socket.getaddrinfo(text, 80, type=socket.SOCK_STREAM):
        seen.append(address[0])


readers = [
    lambda text: urllib.request.urlopen(text).close(),
    lambda text: http.client.HTTPConnection(text).connect(),
    lambda text: socket.create_connection((text, 80)).close(),
    lambda text: socket.create_connection((urllib.parse.urlsplit(text).hostname or text, 80)).close(),
    lambda text: seen.append(socket.inet_ntoa(socket.inet_aton(text))),
    first_address,
]
try:
    import requests

    session = requests.Session()
    session.trust_env = session.verify = False
    readers.append(lambda text: session.get(text, stream=True).close())
except ImportError:
    pass

answers = []
for text in json.load(sys.stdin):
    seen = []
    for read in readers:
        try:
            read(text)
        except Exception:
            pass
    answers.append(seen)
json.dump(answers, sys.stdout)
