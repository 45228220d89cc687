"""The addresses of a client and one more, whose answer is always the same: what a request costs by itself."""

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from loyalty_saas.urls.client import urlpatterns as of_the_client
from tenants.access import Actor, admits

PATH = "/bench/constant"


@admits(Actor.ANYONE)
class Constant(APIView):
    """Reads the body it is sent, and says the same to everybody."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        """Answer."""
        return Response({"lines": len(request.data["lines"])}, status=201)


urlpatterns = [path(PATH.removeprefix("/"), Constant.as_view()), *of_the_client]
